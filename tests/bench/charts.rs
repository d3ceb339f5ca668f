//! The curves, as SVG.

use std::path::Path;

use hdrhistogram::Histogram;
use plotters::coord::Shift;
use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;

use crate::Result;

const SIZE: (u32, u32) = (720, 420);
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x33, 0x37, 0x3d);
const GRID: RGBColor = RGBColor(0xe6, 0xe8, 0xeb);
/// Told apart also by people who do not see all colours, on white.
const COLOURS: [RGBColor; 3] = [RGBColor(0x6b, 0x72, 0x80), RGBColor(0x1d, 0x6f, 0xd1), RGBColor(0xd9, 0x5f, 0x02)];

/// A named curve.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Series {
    /// The latency, in microseconds, that all but one call in x stay below.
    pub(crate) fn of_percentiles(name: &str, latency: &Histogram<u64>) -> Self {
        // The last calls in a hundred thousand are no curve, they are anecdotes.
        let last = (latency.len() as f64 / 10.0).clamp(10.0, 1e5).log10();
        let steps = (last * 40.0) as u32;
        let points = (0..=steps).map(|step| {
            let one_in = 10_f64.powf(f64::from(step) / 40.0);
            (one_in, latency.value_at_quantile(1.0 - 1.0 / one_in) as f64 / 1e3)
        });
        Self { name: name.to_owned(), points: points.collect() }
    }

    fn last(&self) -> (f64, f64) {
        self.points.last().copied().unwrap_or_default()
    }
}

/// Calls a second by the number of calls under way at once.
pub(crate) fn by_concurrency(file: &Path, series: &[Series]) -> Result<()> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let most = highest(series);
    let mut chart = builder(&area, "Throughput on one core")
        .build_cartesian_2d((1.0..340.0).log_scale().base(2.0), 0.0..most / 1e3 * 1.15)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style((FONT, 14, &INK))
        .x_desc("calls under way at once")
        .y_desc("thousand calls a second")
        .x_labels(9)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    for (one, colour) in series.iter().zip(COLOURS) {
        let points: Vec<_> = one.points.iter().map(|(x, y)| (*x, y / 1e3)).collect();
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        chart
            .draw_series(points.iter().map(|point| Circle::new(*point, 4, colour.filled())))?
            .label(&one.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
    }
    legend(&mut chart)?;
    area.present()?;
    Ok(())
}

/// Latency by percentile; the nines are evenly apart, since the tail is what matters.
pub(crate) fn percentiles(file: &Path, title: &str, series: &[Series]) -> Result<()> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let right = series.iter().map(|one| one.last().0).fold(10.0, f64::max);
    let lowest = series.iter().filter_map(|one| one.points.first()).map(|point| point.1).fold(f64::MAX, f64::min);
    let bottom = 10_f64.powf(lowest.max(1.0).log10().floor());
    // Room for the legend above the left end of the curves, which is their low end.
    let top = 10_f64.powf(highest(series).log10().ceil()).max(bottom * 1e3);
    let mut chart = builder(&area, title).build_cartesian_2d((1.0..right).log_scale(), (bottom..top).log_scale())?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style((FONT, 14, &INK))
        .x_desc("percentile of calls")
        .x_labels(6)
        .x_label_formatter(&|one_in| percent(*one_in))
        .y_label_formatter(&|micros| duration(*micros))
        .draw()?;
    for (one, colour) in series.iter().zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(one.points.iter().copied(), colour.stroke_width(2)))?
            .label(&one.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
    }
    legend(&mut chart)?;
    area.present()?;
    Ok(())
}

fn builder<'a, 'b>(area: &'a DrawingArea<SVGBackend<'b>, Shift>, title: &str) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder.caption(title, (FONT, 20, &INK)).margin(16).x_label_area_size(46).y_label_area_size(64);
    builder
}

fn legend<'a, X: Ranged, Y: Ranged>(chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>) -> Result<()> {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font((FONT, 14, &INK))
        .background_style(WHITE.mix(0.9))
        .border_style(TRANSPARENT)
        .draw()?;
    Ok(())
}

fn highest(series: &[Series]) -> f64 {
    series.iter().flat_map(|one| &one.points).map(|point| point.1).fold(1.0, f64::max)
}

/// 100 (one in a hundred is slower) is 99 %.
fn percent(one_in: f64) -> String {
    let percent = 100.0 - 100.0 / one_in;
    let text = format!("{percent:.3}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

fn duration(micros: f64) -> String {
    if micros < 1e3 { format!("{micros:.0} µs") } else { format!("{:.0} ms", micros / 1e3) }
}
