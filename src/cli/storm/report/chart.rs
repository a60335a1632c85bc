//! Line charts as SVG that read well in print: lines differ in their dashes and have their names beside them.

use std::fmt::Write;

use super::text::{escaped, plain};

/// A chart.
#[derive(Debug)]
pub struct Chart<'a> {
    /// What it shows, for those who cannot see it too.
    pub title: &'a str,
    /// What the horizontal axis is.
    pub across: &'a str,
    /// What the vertical axis is.
    pub up: &'a str,
    /// Whether the vertical axis is logarithmic, for what spans from the usual to the worst.
    pub logarithmic: bool,
    /// Names at places of the horizontal axis; numbers if there are none.
    pub names: Vec<(f64, String)>,
    /// A place of the horizontal axis that has a meaning, and which.
    pub mark: Option<(f64, &'a str)>,
    /// The lines.
    pub lines: Vec<Line<'a>>,
}

/// A line of a chart.
#[derive(Debug)]
pub struct Line<'a> {
    /// Its name.
    pub name: &'a str,
    /// How it is drawn.
    pub stroke: Stroke,
    /// Its points, from left to right. Where there is nothing to show the line is broken.
    pub points: Vec<(f64, Option<f64>)>,
}

/// How a line is drawn: no two of a chart alike. The page's style sheet says what each looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// One thick line.
    Solid,
    /// Long dashes.
    Dashed,
    /// Dots.
    Dotted,
    /// A thin line: what was asked for, beside what came.
    Thin,
}

/// The size of a chart in its own units, and where its lines are in it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 264.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 26.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 40.0;
/// About how many steps an axis has.
const STEPS: f64 = 5.0;

impl Chart<'_> {
    /// The chart as an element of a page.
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        let title = escaped(self.title);
        // A String takes everything.
        let _ = write!(
            svg,
            r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><title>{title}</title>"#
        );
        match Scales::of(self) {
            Some(scales) => self.draw(&mut svg, &scales),
            None => svg.push_str(&text(WIDTH / 2.0, HEIGHT / 2.0, "middle", "nothing was measured")),
        }
        svg.push_str("</svg>");
        svg
    }

    fn draw(&self, svg: &mut String, scales: &Scales) {
        for (value, label) in scales.up.ticks() {
            let y = scales.y(value);
            let _ = write!(svg, r#"<path class="grid" d="M{LEFT} {y:.1}H{:.1}"/>"#, WIDTH - RIGHT);
            svg.push_str(&text(LEFT - 6.0, y + 4.0, "end", &label));
        }
        let ticks = if self.names.is_empty() { scales.across.ticks() } else { self.names.clone() };
        for (value, label) in ticks {
            let x = scales.x(value);
            let _ = write!(svg, r#"<path class="tick" d="M{x:.1} {:.1}v5"/>"#, HEIGHT - BOTTOM);
            svg.push_str(&text(x, HEIGHT - BOTTOM + 17.0, "middle", &label));
        }
        let _ = write!(svg, r#"<path class="axis" d="M{LEFT} {TOP}V{:.1}H{:.1}"/>"#, HEIGHT - BOTTOM, WIDTH - RIGHT);
        svg.push_str(&text((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 5.0, "middle", self.across));
        svg.push_str(&text(6.0, 14.0, "start", self.up));
        if let Some((value, what)) = self.mark {
            let x = scales.x(value);
            let _ = write!(svg, r#"<path class="mark" d="M{x:.1} {TOP}V{:.1}"/>"#, HEIGHT - BOTTOM);
            // Near an end of the axis the text would be cut off.
            let anchor = match scales.across.share(value) {
                share if share > 0.85 => "end",
                share if share < 0.15 => "start",
                _ => "middle",
            };
            svg.push_str(&text(x, TOP - 5.0, anchor, what));
        }
        for line in &self.lines {
            let _ = write!(svg, r#"<path class="line {}" d="{}"/>"#, line.stroke.class(), scales.path(&line.points));
        }
        self.legend(svg);
    }

    /// The names of the lines, each behind a piece of its line, at the right end of the top.
    fn legend(&self, svg: &mut String) {
        const LETTER: f64 = 6.6;
        let width = |line: &Line<'_>| 56.0 + line.name.chars().count() as f64 * LETTER;
        let mut x = WIDTH - RIGHT - self.lines.iter().map(width).sum::<f64>();
        for line in &self.lines {
            let _ = write!(svg, r#"<path class="line {}" d="M{x:.1} 10h34"/>"#, line.stroke.class());
            svg.push_str(&text(x + 40.0, 14.0, "start", line.name));
            x += width(line);
        }
    }
}

impl Stroke {
    fn class(self) -> &'static str {
        match self {
            Self::Solid => "solid",
            Self::Dashed => "dashed",
            Self::Dotted => "dotted",
            Self::Thin => "thin",
        }
    }
}

/// Where values are on the chart.
struct Scales {
    across: Axis,
    up: Axis,
}

/// The values of one axis.
struct Axis {
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Scales {
    /// None if there is nothing to show.
    fn of(chart: &Chart<'_>) -> Option<Self> {
        let points = || chart.lines.iter().flat_map(|line| &line.points);
        // Where there is nothing to show there is a gap, so that charts of one load have one axis.
        let (left, right) = bounds(points().map(|(x, _)| *x))?;
        let (least, most) = bounds(points().filter_map(|(_, y)| *y))?;
        let up = if chart.logarithmic { Axis::decades(least, most) } else { Axis::from_zero(most) };
        Some(Self { across: Axis { from: left.min(0.0), to: right.max(left + 1e-9), logarithmic: false }, up })
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.across.share(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.up.share(value) * (HEIGHT - TOP - BOTTOM)
    }

    /// A point that stands alone is drawn as a short stroke, so that it is seen.
    fn path(&self, points: &[(f64, Option<f64>)]) -> String {
        let mut path = String::new();
        let mut is_down = false;
        for (at, (x, y)) in points.iter().enumerate() {
            let Some(y) = y.filter(|y| y.is_finite()) else {
                is_down = false;
                continue;
            };
            let _ = write!(path, "{}{:.1} {:.1}", if is_down { 'L' } else { 'M' }, self.x(*x), self.y(y));
            let goes_on = points.get(at + 1).is_some_and(|(_, next)| next.is_some());
            if !is_down && !goes_on {
                path.push_str("m-4 0h8");
            }
            is_down = true;
        }
        path
    }
}

/// The least and the most of some values; none if there are none.
fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |bounds: Option<(f64, f64)>, value| {
        Some(bounds.map_or((value, value), |(least, most)| (least.min(value), most.max(value))))
    })
}

impl Axis {
    fn from_zero(most: f64) -> Self {
        let step = nice_step(most.max(1e-3));
        Self { from: 0.0, to: (most.max(1e-3) / step).ceil() * step, logarithmic: false }
    }

    /// Whole decades around the values.
    fn decades(least: f64, most: f64) -> Self {
        let from = least.max(1e-3).log10().floor();
        let to = most.max(1e-3).log10().ceil().max(from + 1.0);
        Self { from: 10_f64.powf(from), to: 10_f64.powf(to), logarithmic: true }
    }

    /// 0 at the beginning, 1 at the end.
    fn share(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(self.from) / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        share.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        if self.logarithmic {
            let decades = (self.to / self.from).log10().round() as i32;
            // With few decades the steps between them are told as well.
            let within: &[f64] = if decades <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let start = self.from.log10().round() as i32;
            let ticks =
                (start..=start + decades).flat_map(|decade| within.iter().map(move |step| step * 10_f64.powi(decade)));
            return ticks.filter(|tick| *tick <= self.to * 1.001).map(|tick| (tick, number(tick))).collect();
        }
        let step = nice_step(self.to - self.from);
        let first = (self.from / step).ceil() as i64;
        let last = (self.to / step + 1e-6).floor() as i64;
        (first..=last).map(|nth| (nth as f64 * step, number(nth as f64 * step))).collect()
    }
}

/// 1, 2 or 5 times a power of ten, so that a range has about [`STEPS`] of it.
fn nice_step(range: f64) -> f64 {
    let rough = range / STEPS;
    let power = 10_f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    factors.into_iter().map(|factor| factor * power).find(|step| *step >= rough * 0.999).unwrap_or(power)
}

/// Without a fraction that means nothing.
fn number(value: f64) -> String {
    let rounded = (value * 1_000.0).round() / 1_000.0;
    plain(rounded)
}

fn text(x: f64, y: f64, anchor: &str, what: &str) -> String {
    format!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#, escaped(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, Option<f64>)>, logarithmic: bool) -> String {
        let line = Line { name: "a<b", stroke: Stroke::Dashed, points };
        let chart = Chart {
            title: "t\"t",
            across: "s",
            up: "ms",
            logarithmic,
            names: Vec::new(),
            mark: None,
            lines: vec![line],
        };
        chart.svg()
    }

    #[test]
    fn lines_are_broken_where_nothing_is_and_points_alone_are_seen() {
        let svg = chart(vec![(1.0, Some(1.0)), (2.0, None), (3.0, Some(5.0)), (4.0, Some(10.0))], false);
        let (_, path) = svg.split_once(r#"class="line dashed" d=""#).unwrap();
        let path = path.split('"').next().unwrap();
        assert_eq!(
            (path.matches('M').count(), path.matches('L').count(), path.matches("h8").count()),
            (2, 1, 1),
            "{path}"
        );
    }

    /// A server that dies and stays away: the seconds after it are on the axis, with nothing above them.
    #[test]
    fn the_axis_goes_on_where_nothing_is() {
        let svg = chart(vec![(1.0, Some(1.0)), (2.0, Some(5.0)), (40.0, None)], false);
        assert!(svg.contains(">40</text>"), "{svg}");
    }

    #[test]
    fn a_mark_at_an_end_of_the_axis_is_not_cut_off() {
        for (place, anchor) in [(0.0, "start"), (5.0, "middle"), (9.9, "end")] {
            let points = vec![(0.0, Some(1.0)), (10.0, Some(1.0))];
            let line = Line { name: "n", stroke: Stroke::Solid, points };
            let (title, across, up, logarithmic, names) = ("t", "s", "n", false, Vec::new());
            let mark = Some((place, "the load ends"));
            let svg = Chart { title, across, up, logarithmic, names, mark, lines: vec![line] }.svg();
            assert!(svg.contains(&format!("text-anchor=\"{anchor}\">the load ends")), "{svg}");
        }
    }

    #[test]
    fn whatever_is_measured_can_be_drawn() {
        let odd = [0.0, 1e-9, 1e12, f64::NAN, f64::INFINITY];
        for logarithmic in [false, true] {
            assert!(chart(vec![], logarithmic).contains("nothing was measured"));
            for value in odd {
                let svg = chart(vec![(0.0, Some(value)), (1.0, Some(value))], logarithmic);
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{value}: {svg}");
            }
        }
    }

    #[test]
    fn names_are_escaped() {
        let svg = chart(vec![(0.0, Some(1.0))], false);
        assert!(svg.contains("a&lt;b") && svg.contains("t&quot;t") && !svg.contains("a<b"));
    }

    #[test]
    fn axes_have_round_steps() {
        let labels = |axis: Axis| axis.ticks().into_iter().map(|(_, label)| label).collect::<Vec<_>>().join(" ");
        assert_eq!(labels(Axis::from_zero(437.0)), "0 100 200 300 400 500");
        assert_eq!(labels(Axis::from_zero(0.7)), "0 0.2 0.4 0.6 0.8");
        assert_eq!(labels(Axis::decades(3.0, 2_900.0)), "1 10 100 1\u{202f}000 10\u{202f}000");
        assert_eq!(labels(Axis::decades(3.0, 9.0)), "1 2 5 10");
    }
}
