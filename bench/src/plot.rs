//! Plot: one picture of all rates: for each workload every engine's, as a multiple of ours, on a scale of powers of two.
//!
//! A dot to the left of the line in the middle is slower than Cairn, one to the right faster. The picture is drawn here and
//! not by a library, since it is nothing but dots, and its letters take the colour of the page they are shown on.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::engines::{ENGINES, Terms};
use crate::report::{OURS, Run, median_rate, rated_workloads};

/// Pixels: a row's height, where the dots' field begins and how wide it is.
const ROW: f64 = 26.0;
const FIELD_LEFT: f64 = 330.0;
const FIELD_WIDTH: f64 = 520.0;
const TOP: f64 = 70.0;

/// The field goes from a sixteenth of our rate to eight times.
const LEAST: f64 = -4.0;
const MOST: f64 = 3.0;

const COLOURS: [&str; 6] = ["#1b6ac9", "#d1495b", "#e08e0b", "#2e8b57", "#7d53de", "#888888"];

/// The picture as SVG.
pub(crate) fn draw(runs: &[Run]) -> String {
    let mut rows = Vec::new();
    for workload in rated_workloads() {
        let rates: BTreeMap<&str, f64> = ENGINES
            .iter()
            .filter_map(|terms| Some((terms.name, median_rate(runs, terms.name, workload)?)))
            .collect();
        if rates.contains_key(OURS) {
            rows.push((workload, rates));
        }
    }
    let height = TOP + ROW * rows.len() as f64 + 20.0;
    let width = FIELD_LEFT + FIELD_WIDTH + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<style>text {{ fill: #222 }} .grid {{ stroke: #8886 }} .ours {{ stroke: {} }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} }}</style>\n",
        COLOURS[0]
    );
    legend(&mut svg);
    for power in LEAST as i32..=MOST as i32 {
        let (x, label) = (place_of(2f64.powi(power)), label_of(power));
        let class = if power == 0 { "ours" } else { "grid" };
        let bottom = height - 16.0;
        line(
            &mut svg,
            &format!("<line class=\"{class}\" x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{bottom}\"/>", TOP - 6.0),
        );
        line(
            &mut svg,
            &format!("<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", TOP - 12.0),
        );
    }
    for (index, (workload, rates)) in rows.iter().enumerate() {
        let y = TOP + ROW * (index as f64 + 0.5);
        let ours = rates[OURS];
        let text_x = FIELD_LEFT - 90.0;
        line(
            &mut svg,
            &format!("<text x=\"{text_x}\" y=\"{}\" text-anchor=\"end\">{workload}</text>", y + 4.0),
        );
        let rate_x = FIELD_LEFT - 20.0;
        line(
            &mut svg,
            &format!("<text x=\"{rate_x}\" y=\"{}\" text-anchor=\"end\">{}/s</text>", y + 4.0, short(ours)),
        );
        for (terms, colour) in ENGINES.iter().zip(COLOURS).rev() {
            if let Some(rate) = rates.get(terms.name) {
                dot(&mut svg, terms, colour, place_of(rate / ours), y, *rate);
            }
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String) {
    line(
        svg,
        "<text x=\"10\" y=\"22\" font-weight=\"bold\">Rates as multiples of Cairn's; to the right is faster</text>",
    );
    for (index, (terms, colour)) in ENGINES.iter().zip(COLOURS).enumerate() {
        let x = 400.0 + 80.0 * index as f64;
        line(svg, &format!("<circle cx=\"{x}\" cy=\"18\" r=\"5\" fill=\"{colour}\"/>"));
        line(svg, &format!("<text x=\"{}\" y=\"22\">{}</text>", x + 9.0, terms.name));
    }
}

fn dot(svg: &mut String, terms: &Terms, colour: &str, x: f64, y: f64, rate: f64) {
    let title = format!("<title>{}: {}/s</title>", terms.name, short(rate));
    line(svg, &format!("<circle cx=\"{x:.1}\" cy=\"{y}\" r=\"5\" fill=\"{colour}\">{title}</circle>"));
}

/// Where a multiple of our rate stands; what is beyond the field stands at its edge.
fn place_of(multiple: f64) -> f64 {
    FIELD_LEFT + FIELD_WIDTH * (multiple.log2().clamp(LEAST, MOST) - LEAST) / (MOST - LEAST)
}

fn label_of(power: i32) -> String {
    if power < 0 { format!("1/{}", 1 << -power) } else { format!("{}", 1 << power) }
}

fn short(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{:.1}M", rate / 1e6),
        rate if rate >= 1e4 => format!("{:.0}k", rate / 1e3),
        rate => format!("{rate:.0}"),
    }
}

fn line(svg: &mut String, text: &str) {
    writeln!(svg, "{text}").expect("a string takes text");
}
