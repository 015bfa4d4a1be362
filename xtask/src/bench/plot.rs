//! Curves as a picture: data in, the text of an SVG file out.
//!
//! The file stands by itself: no script, no font, no other file. Its colours are for a light page, and others for a dark
//! one where the reader's system says so. Every axis begins at zero, so that what looks straight grows with its cause.
//!
//! Source of facts: SVG 1.1; the colours are of Okabe and Ito's set, which colour-blind readers tell apart too.

use std::fmt::Write as _;

/// Panels beside and below each other, with the same horizontal axis.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What all panels show.
    pub title: String,
    /// The horizontal axis, with its unit.
    pub x_label: String,
    /// How many panels stand in a row.
    pub columns: usize,
    pub panels: Vec<Panel>,
}

/// Curves in one pair of axes.
#[derive(Debug, Clone)]
pub struct Panel {
    pub title: String,
    /// The vertical axis, with its unit.
    pub y_label: String,
    pub curves: Vec<Curve>,
}

/// One side's measurements.
#[derive(Debug, Clone)]
pub struct Curve {
    /// What the legend calls it.
    pub name: String,
    pub points: Vec<Point>,
}

/// A measurement: the median, and the smallest and the largest of all runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: f64,
    pub least: f64,
    pub most: f64,
}

/// Sizes in pixels: of a panel's axes, and around them.
const PLOT: (f64, f64) = (300.0, 190.0);
const LEFT: f64 = 62.0;
const RIGHT: f64 = 18.0;
const ABOVE: f64 = 34.0;
const BELOW: f64 = 54.0;
/// A line of a panel's legend.
const LEGEND: f64 = 17.0;
/// The figure's title.
const TITLE: f64 = 34.0;

const STYLE: &str = "text{font:12px sans-serif;fill:#24292f}\
    .t{font-size:15px;font-weight:bold}.p{font-weight:bold}\
    .a{stroke:#57606a;fill:none}.g{stroke:#d0d7de;fill:none}\
    .c0{--c:#d55e00}.c1{--c:#0072b2}.c2{--c:#009e73}.c3{--c:#cc79a7}\
    .l{stroke:var(--c);stroke-width:2;fill:none}.d{fill:var(--c)}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.a{stroke:#9198a1}.g{stroke:#3d444d}\
    .c0{--c:#ff8c42}.c1{--c:#56b4e9}.c2{--c:#2ecc9a}.c3{--c:#e8a4cb}}";

/// The text of the file.
pub fn svg(figure: &Figure) -> String {
    let columns = figure.columns.max(1);
    let most = figure.panels.iter().map(|panel| panel.curves.len()).max().unwrap_or(0);
    let (wide, high) = (LEFT + PLOT.0 + RIGHT, ABOVE + PLOT.1 + BELOW + LEGEND * most as f64);
    let rows = figure.panels.len().div_ceil(columns);
    let (width, height) = (wide * columns as f64, TITLE + high * rows as f64);
    let mut out = Text::default();
    out.line(&format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">"
    ));
    out.line(&format!("<title>{}</title>", escaped(&figure.title)));
    out.line(&format!("<style>{STYLE}</style>"));
    out.text("t", "start", (12.0, 23.0), &figure.title);
    let across = scale(figure.panels.iter().flat_map(Panel::points).map(|point| point.x));
    for (index, panel) in figure.panels.iter().enumerate() {
        let (row, column) = (index / columns, index % columns);
        let (x, y) = (wide * column as f64, TITLE + high * row as f64);
        out.line(&format!("<g transform=\"translate({x},{y})\">"));
        panel.draw(&across, &figure.x_label, &mut out);
        out.line("</g>");
    }
    out.line("</svg>");
    out.0
}

impl Panel {
    fn points(&self) -> impl Iterator<Item = &Point> {
        self.curves.iter().flat_map(|curve| &curve.points)
    }

    fn draw(&self, across: &Scale, x_label: &str, out: &mut Text) {
        let up = scale(self.points().map(|point| point.most.max(point.y)));
        let x = |value: f64| LEFT + PLOT.0 * value / across.end;
        let y = |value: f64| ABOVE + PLOT.1 * (1.0 - value / up.end);
        out.text("p", "start", (LEFT, ABOVE - 12.0), &self.title);
        for tick in up.ticks() {
            let at = y(tick);
            out.path("g", &format!("M{LEFT} {at:.1}H{:.1}", LEFT + PLOT.0));
            out.text("", "end", (LEFT - 7.0, at + 4.0), &up.label(tick));
        }
        for tick in across.ticks() {
            out.text("", "middle", (x(tick), ABOVE + PLOT.1 + 17.0), &across.label(tick));
        }
        out.path("a", &format!("M{LEFT} {ABOVE}V{:.1}H{:.1}", y(0.0), LEFT + PLOT.0));
        out.text("", "middle", (LEFT + PLOT.0 / 2.0, ABOVE + PLOT.1 + 35.0), x_label);
        let middle = ABOVE + PLOT.1 / 2.0;
        out.line(&format!(
            "<text text-anchor=\"middle\" transform=\"translate(15,{middle:.1}) rotate(-90)\">{}</text>",
            escaped(&self.y_label)
        ));
        for (index, curve) in self.curves.iter().enumerate() {
            out.line(&format!("<g class=\"c{}\">", index % 4));
            let points: Vec<String> =
                curve.points.iter().map(|p| format!("{:.1} {:.1}", x(p.x), y(p.y))).collect();
            if !points.is_empty() {
                out.path("l", &format!("M{}", points.join("L")));
            }
            for point in &curve.points {
                let at = x(point.x);
                out.path("l", &format!("M{at:.1} {:.1}V{:.1}", y(point.least), y(point.most)));
                out.line(&format!(
                    "<circle class=\"d\" cx=\"{at:.1}\" cy=\"{:.1}\" r=\"3.5\"/>",
                    y(point.y)
                ));
            }
            let at = ABOVE + PLOT.1 + BELOW + LEGEND * index as f64;
            out.path("l", &format!("M{LEFT} {at:.1}h18"));
            out.line("</g>");
            out.text("", "start", (LEFT + 25.0, at + 4.0), &curve.name);
        }
    }
}

/// An axis from zero to a round number.
#[derive(Debug, PartialEq)]
struct Scale {
    end: f64,
    step: f64,
}

/// The axis that holds all these values; of none, or of such as no number is, up to 1.
fn scale(values: impl Iterator<Item = f64>) -> Scale {
    let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
    let most = if most > 0.0 { most } else { 1.0 };
    // About five steps of 1, 2 or 5 times a power of ten.
    let power = 10_f64.powf((most / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
    let step = step.into_iter().find(|step| most / step <= 5.0).unwrap_or(10.0 * power);
    Scale { end: (most / step).ceil() * step, step }
}

impl Scale {
    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = (self.end / self.step).round() as u32;
        (0..=count).map(|index| f64::from(index) * self.step)
    }

    /// A number with as many decimals as the steps need.
    fn label(&self, tick: f64) -> String {
        let decimals = (-self.step.log10().floor()).max(0.0) as usize;
        format!("{tick:.decimals$}")
    }
}

/// The lines of the file.
#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn path(&mut self, class: &str, data: &str) {
        self.line(&format!("<path class=\"{class}\" d=\"{data}\"/>"));
    }

    fn text(&mut self, class: &str, anchor: &str, (x, y): (f64, f64), text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.0,
            "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
            escaped(text)
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure() -> Figure {
        let point = |x: f64, y: f64| Point { x, y, least: y * 0.9, most: y * 1.1 };
        let curve = |name: &str, slope: f64| Curve {
            name: name.to_owned(),
            points: [100.0, 200.0, 400.0].map(|x| point(x, x * slope)).into(),
        };
        let panel = |title: &str| Panel {
            title: title.to_owned(),
            y_label: "seconds".to_owned(),
            curves: vec![curve("theirs & others", 0.1), curve("ours", 0.01)],
        };
        Figure {
            title: "a < b".to_owned(),
            x_label: "units".to_owned(),
            columns: 2,
            panels: ["one", "two", "three"].map(panel).into(),
        }
    }

    #[test]
    fn axes_begin_at_zero_and_end_at_a_round_number() {
        for (most, end, step, label) in [
            (44.27, 50.0, 10.0, "10"),
            (0.135, 0.15, 0.05, "0.05"),
            (2917.0, 3000.0, 1000.0, "1000"),
            (5.0, 5.0, 1.0, "1"),
            (0.0, 1.0, 0.2, "0.2"),
            (f64::NAN, 1.0, 0.2, "0.2"),
        ] {
            let scale = scale([0.0, most].into_iter());
            assert!(
                (scale.end - end).abs() < 1e-9 && (scale.step - step).abs() < 1e-9,
                "{scale:?}"
            );
            assert_eq!(scale.label(scale.step), label);
            assert_eq!(scale.ticks().next(), Some(0.0));
        }
    }

    #[test]
    fn every_element_is_closed_and_every_name_is_there() {
        let text = svg(&figure());
        assert_eq!(text, svg(&figure()));
        for (open, close) in [("<g", "</g>"), ("<text", "</text>"), ("<svg", "</svg>")] {
            assert_eq!(text.matches(open).count(), text.matches(close).count(), "{open}");
        }
        for words in
            ["a &lt; b", "theirs &amp; others", ">ours<", ">units<", ">seconds<", ">three<"]
        {
            assert!(text.contains(words), "{words}");
        }
        assert!(!text.contains("NaN") && !text.contains("inf"));
        assert_eq!(text.matches("<circle").count(), 18);
    }

    /// Where a point is drawn: twice the value is twice as far from the axis.
    #[test]
    fn points_lie_where_their_values_are() {
        let text = svg(&figure());
        let number = |line: &str, name: &str| -> f64 {
            let rest = line.split_once(&format!("{name}=\"")).unwrap().1;
            rest.split_once('"').unwrap().0.parse().unwrap()
        };
        let circles: Vec<(f64, f64)> = text
            .lines()
            .filter(|line| line.starts_with("<circle"))
            .map(|line| (number(line, "cx") - LEFT, ABOVE + PLOT.1 - number(line, "cy")))
            .collect();
        let (first, second) = (circles[0], circles[1]);
        assert!((second.0 - 2.0 * first.0).abs() < 0.2, "{circles:?}");
        assert!((second.1 - 2.0 * first.1).abs() < 0.2, "{circles:?}");
        let inside = |(x, y): &(f64, f64)| (0.0..=PLOT.0).contains(x) && (0.0..=PLOT.1).contains(y);
        assert!(circles.iter().all(inside), "{circles:?}");
    }
}
