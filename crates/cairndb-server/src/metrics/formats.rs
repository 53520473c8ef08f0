//! Formats: the list of figures as Prometheus, as JSON, as lines of `INFO`, and as a page of the documents.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};
use serde_json::{Map, Number, Value as Json, json};

use super::Spread;
use super::figures::{Figure, Figures, Kind, Sample, Value};

/// The ends of the steps in which distributions are shown: from one microsecond to seventeen seconds, or from 1 to a
/// million, each twice the one before.
const NS_ENDS: std::ops::RangeInclusive<u32> = 10..=34;
const COUNT_ENDS: std::ops::RangeInclusive<u32> = 0..=20;

/// Percentiles that are shown.
const SHARES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];

/// The media type of what [`Figures::prometheus`] writes.
pub(crate) const PROMETHEUS: &str = prometheus_text::CONTENT_TYPE;
/// The media type of what [`Figures::open_metrics`] writes.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Kind {
    /// What a number of a distribution is divided by when it is shown.
    fn scale(self) -> f64 {
        if self == Kind::Seconds { 1e9 } else { 1.0 }
    }

    /// By how much is counted up to each step's end, and that end as it is shown.
    fn steps(self, spread: &Spread) -> Vec<(f64, u64)> {
        let mut start = 0;
        let ends = if self == Kind::Seconds { NS_ENDS } else { COUNT_ENDS };
        ends.map(|doublings| {
            let end = 1 << doublings;
            let between = spread.between(std::mem::replace(&mut start, end), end);
            (end as f64 / self.scale(), between)
        })
        .collect()
    }

    /// What Prometheus calls it.
    #[cfg(test)]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Seconds | Kind::Counts => "histogram",
        }
    }
}

impl Figures {
    /// The text that Prometheus reads, version 0.0.4.
    pub(crate) fn prometheus(self) -> String {
        let mut told = String::new();
        prometheus_text::encode(&mut told, &registry(self)).expect("a String takes what is written");
        told
    }

    /// The same as OpenMetrics 1.0, for those who ask for it.
    pub(crate) fn open_metrics(self) -> String {
        let mut told = String::new();
        text::encode(&mut told, &registry(self)).expect("a String takes what is written");
        told
    }

    /// An object with a member for each figure: a number; for a distribution, an object; with labels, an array of objects
    /// that hold each label's value, and what it is the value of.
    pub(crate) fn json(&self) -> Json {
        let mut all = Map::new();
        for figure in &self.list {
            let shown = if figure.labels.is_empty() {
                figure.samples.first().map_or(Json::Null, |sample| json_value(figure.kind, &sample.value))
            } else {
                figure.samples.iter().map(|sample| labelled_json(figure, sample)).collect()
            };
            all.insert(figure.name.to_string(), shown);
        }
        for (name, text) in &self.texts {
            all.insert(format!("cairn_{name}"), Json::from(text.as_str()));
        }
        Json::Object(all)
    }

    /// Names and values for `INFO`: labels stand in the name, and distributions have a name for each thing told of them.
    pub(crate) fn lines(&self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        for figure in &self.list {
            for sample in &figure.samples {
                let mut name = figure.name.trim_start_matches("cairn_").to_string();
                for label in &sample.labels {
                    name = format!("{name}_{label}");
                }
                match &sample.value {
                    Value::Whole(n) => lines.push((name, n.to_string())),
                    Value::Real(n) => lines.push((name, n.to_string())),
                    Value::Spread(spread) => {
                        let scale = figure.kind.scale();
                        lines.push((format!("{name}_count"), spread.count.to_string()));
                        lines.push((format!("{name}_sum"), (spread.sum as f64 / scale).to_string()));
                        for (told, share) in SHARES {
                            let value = spread.quantile(share) / scale;
                            lines.push((format!("{name}_{told}"), value.to_string()));
                        }
                    }
                }
            }
        }
        lines.extend(
            self.texts.iter().map(|(name, text)| (name.to_string(), text.replace(['\r', '\n'], " "))),
        );
        lines
    }

    /// The page of the documents: what each figure is, without its values.
    #[cfg(test)]
    pub(crate) fn page(&self) -> String {
        let mut page = PAGE.to_string();
        for Figure { name, kind, help, labels, .. } in &self.list {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            page += &format!("| `{name}` | {} | {} | {help} |\n", kind.name(), labels.join(" "));
        }
        page
    }
}

/// What the documents say before they list figures.
#[cfg(test)]
const PAGE: &str = "\
# Metrics

What a server measures, by name. The same list is told in three ways, and the same number stands in all of them:

- `GET /metrics`: the text that Prometheus reads, or OpenMetrics for who asks for it by `Accept`.
- `GET /v1/stats`: JSON, a member for each figure. One with labels is an array of objects, each with its labels and a
  `value`; a distribution is an object with `count`, `sum`, percentiles, and `buckets`: how many were up to how much.
- `INFO`: Redis's own sections, by Redis's names, and `# Engine` with all figures but the commands': without `cairn_` in
  front, the labels' values behind, and for a distribution a line for each of `count`, `sum` and the percentiles.

A counter rises until the server starts anew; `CONFIG RESETSTAT` sets back those of commands, clients and turns, not
those of the engine and its files. A histogram's buckets end at powers of two, of nanoseconds or of things; percentiles
are right to an eighth. Times are in seconds.

| name | kind | labels | what it is |
|---|---|---|---|
";

fn labelled_json(figure: &Figure, sample: &Sample) -> Json {
    let mut object = Map::new();
    for (label, value) in figure.labels.iter().zip(&sample.labels) {
        object.insert(label.to_string(), Json::from(value.as_ref()));
    }
    object.insert("value".into(), json_value(figure.kind, &sample.value));
    Json::Object(object)
}

fn json_value(kind: Kind, value: &Value) -> Json {
    let real = |n: f64| Number::from_f64(n).map_or(Json::Null, Json::Number);
    match value {
        Value::Whole(n) => Json::from(*n),
        Value::Real(n) => real(*n),
        Value::Spread(spread) => {
            let mut object = Map::new();
            object.insert("count".into(), Json::from(spread.count));
            object.insert("sum".into(), real(spread.sum as f64 / kind.scale()));
            for (told, share) in SHARES {
                object.insert(told.into(), real(spread.quantile(share) / kind.scale()));
            }
            let mut below = 0;
            let steps = kind.steps(spread).into_iter().map(|(end, count)| {
                below += count;
                json!([end, below])
            });
            object.insert("buckets".into(), steps.collect());
            Json::Object(object)
        }
    }
}

/// A registry of one collector, which has it all.
fn registry(figures: Figures) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(figures));
    registry
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for figure in &self.list {
            // The library puts a counter's ending and the unit back.
            let name = figure.name.trim_end_matches("_total");
            let (name, unit) = [Unit::Seconds, Unit::Bytes]
                .into_iter()
                .find_map(|unit| Some((name.strip_suffix(unit.as_str())?.strip_suffix('_')?, Some(unit))))
                .unwrap_or((name, None));
            let kind = match figure.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Seconds | Kind::Counts => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(name, figure.help, unit.as_ref(), kind)?;
            for sample in &figure.samples {
                let labels: Vec<(&str, &str)> =
                    figure.labels.iter().copied().zip(sample.labels.iter().map(AsRef::as_ref)).collect();
                if labels.is_empty() {
                    encode(figure.kind, &sample.value, &mut metric)?;
                } else {
                    encode(figure.kind, &sample.value, &mut metric.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

fn encode(kind: Kind, value: &Value, metric: &mut MetricEncoder<'_>) -> fmt::Result {
    let none: Option<&Exemplar<Vec<(&str, &str)>, f64>> = None;
    match (value, kind) {
        (Value::Whole(n), Kind::Counter) => metric.encode_counter(n, none),
        (Value::Real(n), Kind::Counter) => metric.encode_counter(n, none),
        (Value::Whole(n), _) => metric.encode_gauge(n),
        (Value::Real(n), _) => metric.encode_gauge(n),
        (Value::Spread(spread), kind) => {
            let mut steps = kind.steps(spread);
            let told: u64 = steps.iter().map(|(_, count)| count).sum();
            steps.push((f64::INFINITY, spread.count - told));
            let sum = spread.sum as f64 / kind.scale();
            metric.encode_histogram::<Vec<(&str, &str)>>(sum, spread.count, &steps, None)
        }
    }
}
