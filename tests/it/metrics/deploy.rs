//! What is in `deploy/`: the dashboard and the alerts name what there is, and each alert says what to do.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{holds, promql::unknown_names, text};

const RULES: &str = "deploy/prometheus/alerts.yml";
const DASHBOARD: &str = "deploy/grafana/engagement.json";
const RUNBOOK: &str = "docs/operations.md";

/// One alert, as far as it is judged.
#[derive(Debug, Default)]
struct Alert {
    name: String,
    expression: String,
    severity: String,
    summary: String,
    description: String,
    runbook: String,
}

/// The alerts of a file in the shape that ours has: one key a line, expressions folded below theirs.
fn alerts(rules: &str) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = Vec::new();
    let mut is_folded = false;
    for line in rules.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            alerts.push(Alert {
                name: name.to_owned(),
                ..Alert::default()
            });
        }
        let Some(alert) = alerts.last_mut() else { continue };
        let Some((key, value)) = line
            .split_once(": ")
            .or_else(|| Some((line.strip_suffix(':')?, "")))
        else {
            if is_folded {
                alert.expression.push(' ');
                alert.expression.push_str(line);
            }
            continue;
        };
        let value = value.trim_matches(['\'', '"']).to_owned();
        is_folded = key == "expr" && value.starts_with('>');
        match key {
            "expr" if !is_folded => alert.expression = value,
            "severity" => alert.severity = value,
            "summary" => alert.summary = value,
            "description" => alert.description = value,
            "runbook_url" => alert.runbook = value,
            _ => {}
        }
    }
    alerts
}

/// What is wrong with alerts, and with what the runbook says of them.
fn faults(rules: &str, runbook: &str) -> Vec<String> {
    let (alerts, mut wrong) = (alerts(rules), Vec::new());
    let explained: BTreeSet<_> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("#### "))
        .filter(|heading| heading.starts_with("Engagement"))
        .collect();
    let named: BTreeSet<_> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    if named.len() != alerts.len() {
        wrong.push("an alert is there twice".to_owned());
    }
    for name in named.symmetric_difference(&explained) {
        wrong.push(format!("{name} is only in one of the rules and the runbook"));
    }
    for alert in &alerts {
        wrong.extend(unknown_names(&alert.expression));
        let anchor = format!("docs/operations.md#{}", alert.name.to_ascii_lowercase());
        if !alert.runbook.ends_with(&anchor) {
            wrong.push(format!("{}: its runbook is {}", alert.name, alert.runbook));
        }
        if !["critical", "warning"].contains(&alert.severity.as_str()) {
            wrong.push(format!("{}: its severity is {}", alert.name, alert.severity));
        }
        if alert.summary.is_empty() || alert.description.is_empty() {
            wrong.push(format!("{} does not say what it means", alert.name));
        }
    }
    wrong
}

/// Every query of a dashboard.
fn queries(dashboard: &Value, found: &mut Vec<String>) {
    match dashboard {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(query) if name == "expr" => found.push(query.clone()),
                    // `label_values(metric, label)`
                    Value::String(query) if name == "query" && query.contains('(') => {
                        let inside = query.split(['(', ',']).nth(1).unwrap_or_default();
                        found.push(inside.to_owned());
                    }
                    value => queries(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

#[test]
fn alerts_name_what_there_is_and_say_what_to_do() {
    let rules = text(RULES);
    assert!(alerts(&rules).len() > 10, "they are found");
    holds(&faults(&rules, &text(RUNBOOK)));
}

#[test]
fn the_dashboard_names_what_there_is() {
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)).expect("JSON");
    let mut found = Vec::new();
    queries(&dashboard, &mut found);
    assert!(found.len() > 20, "queries are found: {}", found.len());
    let wrong: Vec<_> = found.iter().flat_map(|query| unknown_names(query)).collect();
    holds(&wrong);
    for row in [
        "Requests",
        "Replies",
        "Providers",
        "Streams",
        "Database",
        "Limits",
        "Process",
    ] {
        let panels = dashboard["panels"].as_array().expect("panels");
        let has = panels
            .iter()
            .any(|panel| panel["type"] == "row" && panel["title"] == row);
        assert!(has, "there is no row {row}");
    }
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    for panel in panels.filter(|panel| panel["type"] != "row") {
        let of = &panel["datasource"]["uid"];
        assert_eq!(of, "${datasource}", "{}", panel["title"]);
    }
}

#[test]
fn control_what_is_wrong_with_an_alert_is_reported() {
    let rules = |expression: &str, runbook: &str, severity: &str| {
        format!(
            "groups:\n- name: x\n  rules:\n  - alert: EngagementX\n    expr: {expression}\n    labels:\n      severity: {severity}\n    \
             annotations:\n      summary: s\n      description: d\n      runbook_url: {runbook}\n"
        )
    };
    let (good, link) = ("engagement_database_up == 0", "docs/operations.md#engagementx");
    let page = "## Metrics and alerts\n#### EngagementX\n";
    let folded = format!(">-\n      {good}\n      and engagement_streams > 1");
    for (rules, page, expected) in [
        (rules(good, link, "critical"), page, 0),
        (rules(&folded, link, "critical"), page, 0),
        (rules("engagement_database_down == 1", link, "critical"), page, 1),
        (
            rules(">-\n      engagement_nothing > 1", link, "critical"),
            page,
            1,
        ),
        (rules(good, "docs/operations.md#elsewhere", "critical"), page, 1),
        (rules(good, link, "page"), page, 1),
        (rules(good, link, "critical"), "", 1),
        (
            rules(good, link, "critical"),
            "#### EngagementX\n#### EngagementY\n",
            1,
        ),
    ] {
        let found = faults(&rules, page);
        assert_eq!(found.len(), expected, "{found:?} of\n{rules}");
    }
}
