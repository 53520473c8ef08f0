//! Draw: a panel for each figure, a line for each database.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::Seen;

/// The figures, in the order in which they are drawn.
pub(crate) const PANELS: [&str; 7] = [
    "reads a second",
    "bytes read for a get",
    "writes a second",
    "write amplification",
    "space amplification",
    "time to open, ms",
    "memory at its peak, MB",
];

const COLUMNS: usize = 4;
const COLOURS: [RGBColor; 5] = [
    RGBColor(0xB0, 0x3A, 0x2E),
    RGBColor(0xD6, 0x8A, 0x10),
    RGBColor(0x2E, 0x86, 0x5A),
    RGBColor(0x24, 0x6A, 0xA8),
    RGBColor(0x22, 0x22, 0x22),
];

/// Draws the panels, and in the last place which line is whose, and how many crash tests it passes.
pub(crate) fn draw(
    path: &Path,
    seen: &[Seen],
    passed: &[(&str, usize, usize)],
) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (1_280, 640)).into_drawing_area();
    root.fill(&WHITE)?;
    let places = root.split_evenly(((PANELS.len() + 1).div_ceil(COLUMNS), COLUMNS));
    for (index, (panel, place)) in PANELS.iter().zip(&places).enumerate() {
        let figures = || seen.iter().map(|line| line.figures[index].max(1e-3));
        let (low, high) = (figures().fold(f64::MAX, f64::min), figures().fold(0.0, f64::max));
        let keys = || seen.iter().map(|line| line.keys as f64);
        let (first, last) = (keys().fold(f64::MAX, f64::min), keys().fold(0.0, f64::max));
        let mut chart = ChartBuilder::on(place)
            .caption(*panel, ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(62)
            .build_cartesian_2d((first..last).log_scale(), (low * 0.7..high * 1.4).log_scale())?;
        let mut mesh = chart.configure_mesh();
        mesh.x_labels(4).x_label_formatter(&short).y_labels(5).y_label_formatter(&short);
        mesh.light_line_style(WHITE).x_desc("keys").draw()?;
        for ((name, ..), colour) in passed.iter().zip(COLOURS) {
            let line = seen.iter().filter(|line| line.name == *name);
            let points: Vec<_> = line.map(|line| (line.keys as f64, line.figures[index].max(1e-3))).collect();
            chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?;
            chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, colour.filled())))?;
        }
    }
    let legend = &places[PANELS.len()];
    legend.draw(&Text::new("crash tests passed", (70, 20), ("sans-serif", 16)))?;
    for (row, ((name, count, of), colour)) in passed.iter().zip(COLOURS).enumerate() {
        let y = 60 + 34 * row as i32;
        legend.draw(&PathElement::new(vec![(50, y), (90, y)], colour.stroke_width(3)))?;
        legend.draw(&Text::new(format!("{name}: {count} of {of}"), (104, y - 8), ("sans-serif", 15)))?;
    }
    root.present()?;
    Ok(())
}

/// A number as an axis has room for: `0.001`, `10`, `100k`, `1M`.
fn short(n: &f64) -> String {
    match *n {
        n if n >= 1e6 => format!("{}M", n / 1e6),
        n if n >= 1e3 => format!("{}k", n / 1e3),
        n => n.to_string(),
    }
}
