//! Plots as SVG, drawn by `plotters`: static, small, printable, without a script.
//!
//! Vega-Lite would add 0.8 MB of script to every report and needs `eval`, which the page's content policy
//! forbids. Here the plots stand in table cells: the figures beside them are what a screen reader reads,
//! so the drawings themselves are hidden from it. Colours are placeholders that the style sheet turns into
//! those of the light or the dark scheme.

use std::fmt::Display;

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Text and axes.
pub const INK: RGBColor = RGBColor(1, 1, 1);
/// Grid lines.
pub const LINE: RGBColor = RGBColor(2, 2, 2);
/// Preferred.
pub const GOOD: RGBColor = RGBColor(3, 3, 3);
/// Avoided.
pub const BAD: RGBColor = RGBColor(4, 4, 4);
/// Neither.
pub const SOFT: RGBColor = RGBColor(5, 5, 5);

const WIDTH: u32 = 260;
const HEIGHT: u32 = 26;
/// Left and right of the scale, so that the outermost labels fit.
const MARGIN: i32 = 22;

type Area<'a> = DrawingArea<SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A horizontal scale that many rows share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    step: f64,
    /// Where the line stands that the rows are read against.
    zero: f64,
}

impl Scale {
    /// Around `zero`, wide enough for all `values`, `step` between its marks.
    pub fn around(zero: f64, step: f64, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (zero, zero);
        for value in values.filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        let out = |value: f64| ((value - zero).abs() / step).ceil() * step;
        Self { low: zero - out(low), high: zero + out(high).max(step), step, zero }
    }

    /// The marks, at most six of them.
    fn marks(&self) -> Vec<f64> {
        let count = ((self.high - self.low) / self.step).round() as i64;
        let every = (count / 5).max(1);
        let from = ((self.low - self.zero) / self.step).round() as i64;
        (from..=from + count).filter(|i| i % every == 0).map(|i| self.zero + i as f64 * self.step).collect()
    }
}

/// An estimate with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// One row of a forest plot; empty where there is nothing to show.
pub fn row(interval: Option<Interval>, scale: &Scale, colour: RGBColor) -> String {
    let Some(interval) = interval else { return String::new() };
    draw((WIDTH, HEIGHT), scale, |area| {
        grid(area, scale)?;
        let clip = |value: f64| value.clamp(scale.low, scale.high);
        let whisker = vec![(clip(interval.low), 0.5), (clip(interval.high), 0.5)];
        area.draw(&PathElement::new(whisker, colour.stroke_width(2)))?;
        for end in [interval.low, interval.high] {
            area.draw(&PathElement::new(vec![(clip(end), 0.3), (clip(end), 0.7)], colour.stroke_width(2)))?;
        }
        area.draw(&Circle::new((clip(interval.value), 0.5), 5, colour.filled()))
    })
}

/// The axis above the rows.
pub fn axis(scale: &Scale, name: impl Fn(f64) -> String) -> String {
    draw((WIDTH, HEIGHT), scale, |area| {
        for mark in scale.marks() {
            let style =
                TextStyle::from(("sans-serif", 12)).color(&INK).pos(Pos::new(HPos::Center, VPos::Bottom));
            area.draw(&Text::new(name(mark), (mark, 0.25), style))?;
            area.draw(&PathElement::new(vec![(mark, 0.0), (mark, 0.2)], LINE.stroke_width(1)))?;
        }
        Ok(())
    })
}

fn grid<'a>(area: &Area<'a>, scale: &Scale) -> Result<(), Failure<'a>> {
    for mark in scale.marks() {
        area.draw(&PathElement::new(vec![(mark, 0.0), (mark, 1.0)], LINE.stroke_width(1)))?;
    }
    area.draw(&PathElement::new(vec![(scale.zero, 0.0), (scale.zero, 1.0)], INK.stroke_width(1)))
}

type Failure<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

/// Draws on a strip with the scale from left to right and 0 to 1 from bottom to top.
fn draw(
    size: (u32, u32),
    scale: &Scale,
    paint: impl for<'a> FnOnce(&Area<'a>) -> Result<(), Failure<'a>>,
) -> String {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let right = size.0 as i32 - MARGIN;
        let area = root.apply_coord_spec(Cartesian2d::<RangedCoordf64, RangedCoordf64>::new(
            scale.low..scale.high,
            0.0..1.0,
            (MARGIN..right, size.1 as i32..0),
        ));
        // Drawing into a string cannot fail; were it to, the figures in the table say the same.
        let _ = paint(&area).and_then(|()| area.present());
    }
    plain(&svg)
}

/// The SVG element alone, marked as decoration.
fn plain(svg: &str) -> String {
    let svg: String = svg.lines().map(str::trim).filter(|line| !line.starts_with("<?xml")).collect();
    svg.replacen("<svg ", "<svg class=\"plot\" aria-hidden=\"true\" focusable=\"false\" ", 1)
}

/// A number as a label without needless zeros.
pub fn label(value: impl Display) -> String {
    value.to_string().replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_small_svg_on_a_shared_scale() {
        let scale = Scale::around(0.0, 0.1, [-0.58, 0.34].into_iter());
        assert_eq!((scale.low, scale.high), (-0.6000000000000001, 0.4));
        let svg = row(Some(Interval { value: 0.2, low: 0.1, high: 0.34 }), &scale, GOOD);
        assert!(svg.starts_with("<svg class=\"plot\" aria-hidden=\"true\""), "{svg}");
        assert!(svg.contains("#030303") && !svg.contains("style=") && svg.len() < 3000, "{svg}");
        assert_eq!(row(None, &scale, GOOD), "");
        assert!(axis(&scale, |x| label(format!("{:.0}", x * 100.0))).contains("−60"));
    }

    #[test]
    fn a_scale_of_nothing_is_still_a_scale() {
        let scale = Scale::around(0.5, 0.05, [f64::NAN].into_iter());
        assert!(scale.high > scale.low);
        assert!(scale.marks().len() <= 7 && !scale.marks().is_empty());
    }
}
