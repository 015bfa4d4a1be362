//! A link drawn as SVG: time runs to the right, a row for each step.
//!
//! Steps that run one after the other come first, then those beside them, lane by lane. A thin line leads from the end of
//! what a step has waited for to where it begins; where it stood still after it had begun, its bar is hatched.
//!
//! The drawing says `text` and `rect` and leaves colours to the page's style sheet.

use std::fmt::Write as _;
use std::ops::Range;

use pipeline::timeline::{Link, Step};

use super::page::escape;
use super::view::{Doer, lanes, seconds};

/// Units of the drawing: names, then bars, then times.
const WIDTH: f64 = 1000.0;
const BARS: Range<f64> = 250.0..930.0;
const ROW: f64 = 20.0;
const BAR: f64 = 14.0;
const AXIS: f64 = 22.0;
const HEADING: f64 = 22.0;

/// The thinnest bar.
const THIN: f64 = 1.5;

/// Letters of a name that fit before the bars.
const LETTERS: usize = 36;

/// Where things are.
struct Chart {
    /// The time at the right end of the bars, in microseconds.
    scale: u64,
    /// Steps by row, each with its place from the top.
    rows: Vec<(usize, f64)>,
    /// Headings of lanes.
    headings: Vec<(String, f64)>,
    height: f64,
}

/// The drawing of `link`; `scale` microseconds are as wide as the bars' place, so that two drawings can be
/// compared. `id` begins the names of its parts.
pub fn waterfall(link: &Link, scale: u64, id: &str) -> String {
    let chart = Chart::new(link, scale);
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<svg class=\"waterfall\" role=\"img\" viewBox=\"0 0 {WIDTH} {:.1}\" \
         aria-labelledby=\"{id}-title {id}-desc\">\n<title id=\"{id}-title\">{} in {} s</title>\n\
         <desc id=\"{id}-desc\">A bar for each of {} steps, from where it begins to where it ends. \
         The table of steps has the same numbers.</desc>\n\
         <defs><pattern id=\"{id}-hatch\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" \
         patternTransform=\"rotate(45)\"><rect class=\"hatch\" width=\"2\" height=\"5\"/></pattern></defs>",
        chart.height,
        escape(&link.output),
        seconds(link.wall_us),
        link.steps.len(),
    );
    chart.axis(&mut svg);
    for (heading, y) in &chart.headings {
        let _ = writeln!(svg, "<text class=\"heading\" x=\"0\" y=\"{y:.1}\">{heading}</text>");
    }
    chart.waits(&mut svg, &link.steps);
    for &(at, y) in &chart.rows {
        chart.step(&mut svg, &link.steps[at], y, id);
    }
    svg.push_str("</svg>\n");
    svg
}

impl Chart {
    fn new(link: &Link, scale: u64) -> Self {
        let lanes = lanes(&link.steps);
        let last = lanes.iter().copied().max().unwrap_or(0);
        let (mut rows, mut headings, mut y) = (Vec::new(), Vec::new(), AXIS);
        for lane in 0..=last {
            if last > 0 {
                let heading = match (lane, last) {
                    (0, _) => "one after the other".to_string(),
                    (_, 1) => "beside these".to_string(),
                    (lane, _) => format!("beside these, {lane}"),
                };
                headings.push((heading, y + 15.0));
                y += HEADING;
            }
            for at in (0..link.steps.len()).filter(|&at| lanes[at] == lane) {
                rows.push((at, y));
                y += ROW;
            }
        }
        Chart { scale: scale.max(link.wall_us).max(1), rows, headings, height: y + 4.0 }
    }

    fn x(&self, time: u64) -> f64 {
        BARS.start + time as f64 / self.scale as f64 * (BARS.end - BARS.start)
    }

    fn axis(&self, svg: &mut String) {
        let step = tick(self.scale);
        for time in (0..).map(|n| n * step).take_while(|&time| time <= self.scale) {
            let x = self.x(time);
            let label = time as f64 / 1e6;
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"16\" y2=\"{:.1}\"/>\
                 <text class=\"tick\" x=\"{x:.1}\" y=\"11\">{label} s</text>",
                self.height,
            );
        }
    }

    /// Lines from the ends of steps to the beginnings of those that waited for them.
    fn waits(&self, svg: &mut String, steps: &[Step]) {
        for &(at, y) in &self.rows {
            let step = &steps[at];
            for (order, name) in step.waited_for.iter().enumerate() {
                let goes_on =
                    if order == 0 { step.start_us } else { step.start_us + step.blocked_us };
                // A name may come twice.
                let is_it = |row: &&(usize, f64)| {
                    let other = &steps[row.0];
                    row.0 != at && other.name() == *name && other.start_us <= goes_on
                };
                let from = self.rows.iter().filter(is_it).max_by_key(|row| steps[row.0].start_us);
                let Some(&(from, from_y)) = from else { continue };
                // Who waits goes on a moment before the other has put everything away.
                let (x, to) = (self.x(steps[from].end_us.min(goes_on)), self.x(goes_on));
                let (top, end) = (from_y + ROW / 2.0, y + ROW / 2.0);
                let _ =
                    writeln!(svg, "<path class=\"wait\" d=\"M{x:.1} {top:.1}V{end:.1}H{to:.1}\"/>");
            }
        }
    }

    fn step(&self, svg: &mut String, step: &Step, y: f64, id: &str) {
        let class = match Doer::of(step) {
            Doer::Native => "native",
            Doer::Linker => "linker",
            Doer::Tool => "tool",
        };
        let (x, end) = (self.x(step.start_us), self.x(step.end_us));
        // The thinnest bar ends where the longest would.
        let width = (end - x).max(THIN);
        let x = x.min(BARS.end - width);
        let (name, time) = (step.name(), seconds(step.wall_us()));
        let (base, top) = (y + 14.0, y + (ROW - BAR) / 2.0);
        let _ = writeln!(
            svg,
            "<g><title>{}: {time} s, {}, from {} to {} s</title>\
             <text class=\"name\" x=\"0\" y=\"{base:.1}\">{}</text>\
             <rect class=\"bar {class}\" x=\"{x:.2}\" y=\"{top:.1}\" width=\"{width:.2}\" height=\"{BAR}\"/>",
            escape(&name),
            escape(&step.engine),
            seconds(step.start_us),
            seconds(step.end_us),
            escape(&shortened(&name)),
        );
        if step.blocked_us > 0 {
            let waited =
                (self.x(step.start_us + step.blocked_us) - self.x(step.start_us)).min(width);
            let _ = writeln!(
                svg,
                "<rect class=\"blocked\" x=\"{x:.2}\" y=\"{top:.1}\" width=\"{waited:.2}\" height=\"{BAR}\" \
                 fill=\"url(#{id}-hatch)\"/>",
            );
        }
        let _ =
            writeln!(svg, "<text class=\"time\" x=\"{WIDTH}\" y=\"{base:.1}\">{time}</text></g>");
    }
}

/// Microseconds between two marks of an axis: 1, 2 or 5 of a power of ten, so that there are up to eight.
fn tick(scale: u64) -> u64 {
    let powers = std::iter::successors(Some(1_u64), |power| power.checked_mul(10));
    let steps = powers.flat_map(|power| [1, 2, 5].map(|digit| power.saturating_mul(digit)));
    steps.into_iter().find(|step| scale / step <= 8).unwrap_or(u64::MAX)
}

/// A name as long as there is room for.
fn shortened(name: &str) -> String {
    if name.chars().count() <= LETTERS {
        return name.to_string();
    }
    name.chars().take(LETTERS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{link, step};
    use super::*;

    /// The values of an attribute of all elements of a class.
    fn values(svg: &str, class: &str, attribute: &str) -> Vec<f64> {
        let elements = svg.split('<').filter(|part| part.contains(&format!("class=\"{class}")));
        let value = |part: &str| {
            let rest = part.split_once(&format!(" {attribute}=\"")).unwrap().1;
            rest.split('"').next().unwrap().parse().unwrap()
        };
        elements.map(value).collect()
    }

    #[test]
    fn bars_lie_at_their_times_and_none_leaves_the_drawing() {
        let svg = waterfall(&link(), 2_000_000, "now");
        // Lane by lane: the three steps, then what was beside them.
        assert_eq!(values(&svg, "bar", "x"), [250.0, 386.0, 556.0, 250.34]);
        assert_eq!(values(&svg, "bar", "width"), [136.0, 170.0, 34.0, 169.66]);
        assert_eq!(values(&svg, "blocked", "width"), [34.0]);
        assert_eq!(svg.matches("class=\"heading\"").count(), 2);
        // BTF waited for LD and for PREP.
        assert_eq!(svg.matches("class=\"wait\"").count(), 2);
        assert_eq!(svg.matches("class=\"tick\"").count(), 5);
        let mut thin = link();
        thin.steps = vec![step("A a", 0, 0), step("B b", 1_000_000, 1_000_000)];
        let svg = waterfall(&thin, 0, "now");
        assert_eq!(values(&svg, "bar", "x"), [250.0, 928.5]);
        assert_eq!(values(&svg, "bar", "width"), [1.5, 1.5]);
    }

    #[test]
    fn an_axis_has_some_marks_at_round_times() {
        assert_eq!(tick(1_000_000), 200_000);
        assert_eq!(tick(1_700_000), 200_000);
        assert_eq!(tick(44_300_000), 5_000_000);
        assert_eq!(tick(1), 1);
        for scale in [1, 7, 999, 12_345, 1 << 40] {
            assert!((1..=8).contains(&(scale / tick(scale))), "{scale}");
        }
    }

    #[test]
    fn a_link_without_steps_and_without_time_is_drawn_too() {
        let svg = waterfall(&Link::default(), 0, "now");
        assert!(
            svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN"),
            "{svg}"
        );
    }
}
