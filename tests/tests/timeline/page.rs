//! The page of a real link in headless Chromium, in light and in dark.
//!
//! Chromium loads a copy of the page with a script at its end, which measures what is drawn and leaves its findings in the
//! document; `--dump-dom` prints that. The page itself has no script.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Tree, steps};

/// Size of the window, in pixels.
const WINDOW: &str = "--window-size=1280,900";

/// What is wrong with the page as it is drawn, and its colours. Half a pixel is rounding.
const SCRIPT: &str = r#"
<script>
const errors = [], inside = (inner, outer) =>
  inner.width > 0 && inner.left >= outer.left - 0.5 && inner.right <= outer.right + 0.5
  && inner.top >= outer.top - 0.5 && inner.bottom <= outer.bottom + 0.5;
addEventListener('error', event => errors.push(String(event.message || event.target)), true);
const bars = [];
for (const svg of document.querySelectorAll('svg.waterfall')) {
  const frame = svg.getBoundingClientRect(), left = frame.left + frame.width / 4;
  if (frame.left < 0 || frame.right > innerWidth) errors.push('a drawing leaves the window');
  for (const part of svg.querySelectorAll('rect.bar, rect.blocked, text, path.wait'))
    if (!inside(part.getBoundingClientRect(), frame) && !part.matches('path.wait'))
      errors.push('outside: ' + part.outerHTML);
  for (const text of svg.querySelectorAll('text.name'))
    if (text.getBoundingClientRect().right > left) errors.push('over the bars: ' + text.textContent);
  const drawn = [...svg.querySelectorAll('rect.bar')];
  for (const bar of drawn)
    if (getComputedStyle(bar).fill === 'rgb(0, 0, 0)') errors.push('no colour: ' + bar.outerHTML);
  bars.push(drawn.length);
  const named = svg.getAttribute('aria-labelledby').split(' ').map(id => document.getElementById(id));
  if (!named.every(element => element && element.textContent)) errors.push('a drawing has no name');
}
if (document.documentElement.scrollWidth > innerWidth) errors.push('the page is wider than the window');
for (const entry of performance.getEntriesByType('resource')) errors.push('asks for ' + entry.name);
const style = getComputedStyle(document.body), rgb = text => text.match(/\d+/g).map(Number);
const rows = document.querySelectorAll('table')[0].querySelectorAll('tbody tr').length;
document.body.innerHTML = '';
document.body.append(Object.assign(document.createElement('pre'), { id: 'found', textContent:
  JSON.stringify({ errors, bars, rows, text: rgb(style.color), back: rgb(style.backgroundColor) }) }));
</script>
</body>"#;

/// Chromium on a page, with these options: what it prints.
fn chromium(page: &Path, profile: &Path, options: &[&str]) -> (String, String) {
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
    command.args(["--no-first-run", "--enable-logging=stderr", WINDOW]);
    command.arg(format!("--user-data-dir={}", profile.display())).args(options);
    let output = command.arg(format!("file://{}", page.display())).output();
    let output = output.unwrap_or_else(|error| panic!("chromium: {error}: run `cargo xtask test`"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "chromium {options:?}: {err}");
    let complaint = err.lines().find(|line| line.contains("CONSOLE"));
    assert_eq!(complaint, None, "a message on the console");
    (out, err)
}

/// What the script has found, with these options of Chromium.
fn found(page: &str, name: &str, options: &[&str]) -> Value {
    let tree = Tree::linked();
    let copy = tree.dir.path().join(format!("{name}.html"));
    fs::write(&copy, page.replace("</body>", SCRIPT)).expect("a scratch directory is writable");
    let profile = tree.dir.path().join(format!("profile-{name}"));
    let (dom, said) = chromium(&copy, &profile, &[&["--dump-dom"], options].concat());
    let start = dom.find("<pre id=\"found\">").unwrap_or_else(|| panic!("{said}\n{dom}"));
    let json = &dom[start + "<pre id=\"found\">".len()..];
    let json = &json[..json.find("</pre>").expect("it is closed")];
    let json = json.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn page() -> (String, PathBuf) {
    let tree = Tree::linked();
    let file = tree.dir.path().join("timeline.html");
    assert_eq!(tree.shown(&["--html", file.to_str().expect("UTF-8")]), "");
    (fs::read_to_string(&file).expect("it was written"), file)
}

/// How well text can be told from what is behind it, by the rule of WCAG 2.
fn contrast(found: &Value) -> f64 {
    let luminance = |colour: &Value| {
        let part = |at: usize| {
            let part = colour[at].as_f64().expect("a colour") / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(0) + 0.7152 * part(1) + 0.0722 * part(2)
    };
    let (text, back) = (luminance(&found["text"]), luminance(&found["back"]));
    (text.max(back) + 0.05) / (text.min(back) + 0.05)
}

#[test]
fn every_step_has_a_bar_inside_of_the_window() {
    let (page, file) = page();
    let record = Tree::linked().record();
    let expected = ["link", "previous"].map(|link| steps(&record[link]).len());
    // Blink's numbers for the scheme that a user prefers: 0 is dark, 1 is light.
    let light = found(&page, "light", &["--blink-settings=preferredColorScheme=1"]);
    let dark = found(&page, "dark", &["--blink-settings=preferredColorScheme=0"]);
    for found in [&light, &dark] {
        assert_eq!(found["errors"], serde_json::json!([]));
        assert_eq!(found["bars"], serde_json::json!(expected));
        assert!(
            found["rows"].as_u64() > Some(expected[0] as u64),
            "the table has them too: {found}"
        );
        assert!(contrast(found) > 7.0, "{found}");
    }
    assert!(light["back"][0].as_u64() > Some(200) && dark["back"][0].as_u64() < Some(60), "{dark}");
    let narrow = found(&page, "narrow", &["--window-size=700,900"]);
    assert_eq!(narrow["bars"], serde_json::json!(expected));
    picture(&file);
}

/// The page as a picture, which is more than a blank one.
fn picture(file: &Path) {
    let dir = Tree::linked().dir.path();
    let picture = dir.join("page.png");
    let option = format!("--screenshot={}", picture.display());
    chromium(file, &dir.join("profile-picture"), &[&option]);
    let bytes = fs::metadata(&picture).expect("a picture was written").len();
    assert!(bytes > 20_000, "{bytes} bytes");
}
