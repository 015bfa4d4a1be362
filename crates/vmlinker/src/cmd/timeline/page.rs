//! A timeline as one page of HTML: readable in light and dark, without a script, and with nothing outside of it.
//!
//! The waterfall of the last link and that of the one before have the same scale. All that is drawn is there as a table
//! too. What stands in the record is text and nothing else: everything goes through [`escape`].

use std::fmt::Write as _;

use pipeline::timeline::{Link, Links, Step};

use super::view::{Size, bytes, circumstances, date, grouped, kallsyms, pairs, seconds, types};
use super::waterfall::waterfall;

const STYLE: &str = include_str!("page.css");

/// The page.
pub fn page(links: &Links) -> String {
    let (link, before) = (&links.link, links.previous.as_ref());
    let title = format!("Link of {}, {}", escape(&link.output), date(link.began));
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<h1>{title}</h1>\n",
    );
    summary(&mut page, link, before);
    let scale = link.wall_us.max(before.map_or(0, |before| before.wall_us));
    page.push_str("<h2>Where the time went</h2>\n<p class=\"dim\">");
    for (class, words) in
        [("native", "vmlinker"), ("linker", "the linker"), ("tool", "another program")]
    {
        let _ = write!(page, "<span class=\"key {class}\"></span>{words}");
    }
    page.push_str("; hatched: standing still; thin lines lead from what a step waited for</p>\n");
    figure(&mut page, link, scale, "now", "This link");
    if let Some(before) = before {
        figure(&mut page, before, scale, "before", "The link before, at the same scale");
    }
    steps(&mut page, link, before);
    sizes(&mut page, link, before);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// Text as HTML shows it, whatever it is.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

fn summary(page: &mut String, link: &Link, before: Option<&Link>) {
    let memory = |link: &Link| {
        let child = link.steps.iter().filter_map(|step| step.child_memory).max();
        let own = link.memory.map(|memory| format!("; at most {} of memory", bytes(memory)));
        let child = child.map(|memory| format!(", its largest child {}", bytes(memory)));
        own.unwrap_or_default() + &child.unwrap_or_default()
    };
    let words = |link: &Link| escape(&circumstances(link).join("; "));
    let line = |which: &str, link: &Link| {
        format!(
            "<p>{which}: <strong>{} s</strong>{}; {}.</p>\n",
            seconds(link.wall_us),
            memory(link),
            words(link)
        )
    };
    page.push_str(&line("This link", link));
    match before {
        Some(before) => {
            let which = format!("The link before, {}", date(before.began));
            page.push_str(&line(&which, before));
        }
        None => page.push_str("<p class=\"dim\">No link before it is recorded.</p>\n"),
    }
}

fn figure(page: &mut String, link: &Link, scale: u64, id: &str, caption: &str) {
    let drawing = waterfall(link, scale, id);
    let _ = write!(page, "<figure>\n<figcaption>{caption}</figcaption>\n{drawing}</figure>\n");
}

/// A number, or a dash.
fn number<T>(value: Option<T>, shown: impl Fn(T) -> String) -> String {
    value.map_or("–".to_string(), shown)
}

fn steps(page: &mut String, link: &Link, before: Option<&Link>) {
    page.push_str(
        "<h2>Steps</h2>\n<div class=\"scroll\">\n<table>\n<caption>Times in seconds. Memory is that of \
         child processes.</caption>\n<thead><tr><th class=\"word\" scope=\"col\">step</th>",
    );
    for heading in ["begins", "takes", "before", "CPU", "threads", "memory", "reads", "writes"] {
        let _ = write!(page, "<th scope=\"col\">{heading}</th>");
    }
    page.push_str("<th class=\"word\" scope=\"col\">by</th><th class=\"word\" scope=\"col\">waited for</th></tr></thead>\n<tbody>\n");
    let (pairs, left) = pairs(link, before);
    let time = |step: Option<&Step>| number(step, |step| seconds(step.wall_us()));
    for (step, old) in pairs {
        let size = |value| number(value, bytes);
        let waited = match step.blocked_us {
            0 => String::new(),
            blocked => format!(" (standing still for {} s)", seconds(blocked)),
        };
        let numbers = [
            seconds(step.start_us),
            time(Some(step)),
            time(old),
            number(step.cpu_us, seconds),
            number(step.threads, |threads| threads.to_string()),
            size(step.child_memory),
            size(step.read),
            size(step.written),
        ];
        let _ = write!(page, "<tr><th class=\"word\" scope=\"row\">{}</th>", escape(&step.name()));
        numbers.iter().for_each(|number| cell(page, number));
        let waited_for = step.waited_for.join(", ");
        words(page, &step.engine);
        words(page, &format!("{waited_for}{waited}"));
        page.push_str("</tr>\n");
    }
    for step in left {
        let _ = write!(page, "<tr><th class=\"word\" scope=\"row\">{}</th>", escape(&step.name()));
        ["–", "–", &time(Some(step)), "", "", "", "", ""].iter().for_each(|text| cell(page, text));
        words(page, &step.engine);
        words(page, "only in the link before");
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n<tbody class=\"sum\"><tr><th scope=\"row\">together</th>");
    let cpu = link.steps.iter().filter_map(|step| step.cpu_us).reduce(|sum, cpu| sum + cpu);
    let before = number(before, |before| seconds(before.wall_us));
    [String::new(), seconds(link.wall_us), before, number(cpu, seconds)]
        .iter()
        .for_each(|number| cell(page, number));
    page.push_str("<td colspan=\"6\"></td></tr></tbody>\n</table>\n</div>\n");
}

fn cell(page: &mut String, text: &str) {
    let _ = write!(page, "<td>{text}</td>");
}

fn words(page: &mut String, text: &str) {
    let _ = write!(page, "<td class=\"word\">{}</td>", escape(text));
}

fn sizes(page: &mut String, link: &Link, before: Option<&Link>) {
    let old = |of: fn(&Link) -> Option<u64>| before.and_then(of);
    let file = |name, bytes: Option<u64>, before| {
        bytes.map(|bytes| Size { name, bytes, before, count: None })
    };
    let kernel = file(&link.output, link.contents.kernel, old(|link| link.contents.kernel));
    let map = file("System.map", link.contents.system_map, old(|link| link.contents.system_map));
    let files: Vec<Size<'_>> = kernel.into_iter().chain(map).collect();
    let parts = [
        ("Files", files, false),
        ("kallsyms", kallsyms(link, before), true),
        ("BTF", types(link, before), true),
    ];
    for (title, rows, shares) in parts {
        if !rows.is_empty() {
            size_table(page, title, &rows, shares);
        }
    }
}

/// Sizes with a bar for each one's share of all, which are added up if they are `shares` of something.
fn size_table(page: &mut String, title: &str, rows: &[Size<'_>], shares: bool) {
    let sum = |of: &dyn Fn(&Size<'_>) -> Option<u64>| rows.iter().map(of).sum::<Option<u64>>();
    let all = sum(&|row| Some(row.bytes)).unwrap_or(0);
    let largest = rows.iter().map(|row| row.bytes).max().unwrap_or(0).max(1);
    let counted = rows.iter().any(|row| row.count.is_some());
    let _ = write!(
        page,
        "<h2>{title}</h2>\n<div class=\"scroll\">\n<table>\n<thead><tr><th class=\"word\" scope=\"col\">part</th>\
         <th scope=\"col\">bytes</th><th scope=\"col\">before</th>{}{}</tr></thead>\n<tbody>\n",
        if counted { "<th scope=\"col\">how many</th>" } else { "" },
        if shares { "<th scope=\"col\">%</th><th></th>" } else { "" },
    );
    for row in rows {
        let _ = write!(page, "<tr><th class=\"word\" scope=\"row\">{}</th>", escape(row.name));
        cell(page, &grouped(row.bytes));
        cell(page, &number(row.before, grouped));
        if counted {
            cell(page, &number(row.count, grouped));
        }
        if shares {
            let percent = row.bytes as f64 * 100.0 / all.max(1) as f64;
            let width = row.bytes as f64 * 100.0 / largest as f64;
            let _ = write!(
                page,
                "<td>{percent:.1}</td><td><svg class=\"share\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" \
                 aria-hidden=\"true\"><rect class=\"native\" width=\"{width:.1}\" height=\"10\"/></svg></td>",
            );
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n");
    if shares {
        let before = number(sum(&|row| row.before), grouped);
        let _ = writeln!(
            page,
            "<tbody class=\"sum\"><tr><th scope=\"row\">all parts</th><td>{}</td><td>{before}</td>\
             <td colspan=\"{}\"></td></tr></tbody>",
            grouped(all),
            2 + usize::from(counted),
        );
    }
    page.push_str("</table>\n</div>\n");
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{hostile, link, links};
    use super::*;

    /// Checks that elements are closed in the reverse order of their beginnings.
    fn check_nesting(page: &str) {
        let mut open: Vec<&str> = Vec::new();
        for tag in
            page.split('<').skip(1).filter_map(|part| part.split_once('>')).map(|part| part.0)
        {
            let name = tag.split_whitespace().next().unwrap_or("");
            match name.strip_prefix('/') {
                Some(closed) => assert_eq!(open.pop(), Some(closed), "{tag}"),
                None if ["!DOCTYPE", "meta", "link"].contains(&name) || tag.ends_with('/') => {}
                None => open.push(name),
            }
        }
        assert_eq!(open, [""; 0]);
    }

    #[test]
    fn the_page_has_both_links_and_every_size() {
        let page = page(&links());
        check_nesting(&page);
        assert_eq!(page.matches("<svg class=\"waterfall\"").count(), 2);
        assert_eq!(page.matches("class=\"bar ").count(), 4 + 5);
        for words in [
            "608,896",
            "608,906",
            "1,020,175",
            "57,565",
            "4,502",
            "103,283,328",
            "only in the link before",
            "standing still for 0.100 s",
            "<td>1.000</td><td>2.000</td>",
            "prefers-color-scheme: dark",
        ] {
            assert!(page.contains(words), "{words}: {page}");
        }
        let alone = super::page(&Links::new(link()));
        check_nesting(&alone);
        assert!(alone.contains("No link before it is recorded") && !alone.contains("id=\"before-"));
    }

    #[test]
    fn the_page_asks_for_nothing_and_runs_nothing() {
        let page = page(&links());
        for foreign in ["http:", "https:", "<script", "@import", "src=", " on"] {
            let tags = page.split('<').filter_map(|part| part.split_once('>'));
            let found = tags.map(|part| part.0).find(|tag| tag.contains(foreign));
            assert_eq!(found, None, "{foreign}");
        }
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }

    #[test]
    fn text_of_the_record_stays_text() {
        let page = page(&hostile());
        check_nesting(&page);
        assert!(!page.contains("<script") && !page.contains('\x1b'), "{page}");
        assert!(page.contains("&lt;/script&gt;&lt;script&gt;alert(&#39;1&#39;)"), "{page}");
    }
}
