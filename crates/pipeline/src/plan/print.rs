//! A plan as text and as JSON.

use serde_json::{Value, json};

use super::{Action, Plan, Step};

impl Plan {
    /// The steps up to the last link in Kbuild's form, one a line; then how many links they contain
    /// and what is done to the linked kernel. With `why`, the reason follows each step.
    pub fn text(&self, why: bool) -> String {
        let (links, finish) = self.steps.split_at(self.finish);
        let mut text = String::new();
        for step in links {
            text += &step.line();
            if why {
                let width = 44usize.saturating_sub(step.line().len()).max(2);
                text += &format!("{:width$}# {} ({})", "", step.why, step.engine_name());
            }
            text.push('\n');
        }
        text += &self.summary();
        let finish: Vec<String> = finish
            .iter()
            .filter(|step| !matches!(step.action, Action::Compare { .. }))
            .map(|step| format!("{} {}", step.verb(), step.output()))
            .collect();
        text += &format!("; then {}\n", finish.join(", "));
        if why {
            for step in &self.steps[self.finish..] {
                text += &format!(
                    "  {:<7} {}: {} ({})\n",
                    step.verb(),
                    step.output(),
                    step.why,
                    step.engine_name()
                );
            }
        }
        text
    }

    /// How many links the plan contains, in words.
    pub fn summary(&self) -> String {
        if self.steps.iter().any(Step::replaces_link) {
            let links = match self.links() {
                1 => "1 link".to_string(),
                n => format!("{n} links"),
            };
            return format!("{links} without debug information and no final one");
        }
        match self.temporary_links() {
            0 => "no temporary link, only the final one".to_string(),
            1 => "1 temporary link and the final one".to_string(),
            n => format!("{n} temporary links and the final one"),
        }
    }

    /// The plan for programs: schedule, number of links, and every step with its inputs.
    pub fn json(&self) -> Value {
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|step| {
                let mut value = json!({
                    "verb": step.verb(),
                    "output": step.output(),
                    "inputs": step.inputs(),
                    "engine": step.engine_name(),
                    "why": step.why,
                });
                match step.action {
                    Action::Ld { strip_debug, hollow, .. } => {
                        value["strip_debug"] = strip_debug.into();
                        value["hollow"] = hollow.into();
                    }
                    Action::Debug { debug_info, .. } => {
                        value["debug_info"] = debug_info.to_string().into();
                    }
                    _ => {}
                }
                value
            })
            .collect();
        json!({
            "schedule": self.schedule,
            "start": self.start,
            "links": self.links(),
            "temporary_links": self.temporary_links(),
            "steps": steps,
        })
    }
}
