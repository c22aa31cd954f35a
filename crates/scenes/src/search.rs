//! Searching sources for the scenes of an area, and making sure that none was kept back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::{DateTime, SecondsFormat, TimeDelta};
use pitwatch_grid::{Day, UtcTime, parse_time};
use serde_json::{Map, Value, json};
use url::Url;

use crate::catalog::{Walk, Way, sift};
use crate::net::NetError;
use crate::scene::merge_sources;
use crate::source::{Source, SourceKind};
use crate::{Error, Found, Query, Result, safe};

/// Longest page: items have some 10 to 30 kB.
const MAX_PAGE_BYTES: u64 = 64 << 20;
/// Pages of one window of time; a source that goes on sends the same for ever.
const MAX_PAGES: usize = 10_000;
/// Windows of time are not halved below this: two passes over one place are farther apart.
const MIN_WINDOW: TimeDelta = TimeDelta::hours(1);
/// The first day of Sentinel-2: 23 June 2015, launch of 2A.
const FIRST_DAY: Day = Day(16_609);

/// What a search gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// Scenes, each from the first source that has it, with the others beside it; and what did not become one.
    pub found: Found,
    /// How each source was searched, in their order.
    pub sources: Vec<SourceReport>,
}

/// How the search of one source went.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SourceReport {
    /// The source's name.
    pub name: String,
    /// Items that the source says it has; `None` if it does not say.
    pub n_matched: Option<u64>,
    /// Items received, each counted once.
    pub n_received: u64,
    /// When the newest of them was published.
    pub newest_published: Option<UtcTime>,
    /// True if all that it has was received, as far as can be told.
    pub is_complete: bool,
    /// What went wrong.
    pub problems: Vec<String>,
    /// What it told, for the next search of it; `None` if it cannot be asked by the time of publication.
    pub told: Option<Told>,
    /// Only what was published from then on was asked for, the rest is what it told before; `None` if all was asked for.
    pub published_from: Option<UtcTime>,
}

/// What a source told of an area, to be kept until it is searched again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Told {
    /// What was asked for: address, collections, bounds, period. To another question it is no answer.
    pub question: Value,
    /// The items, by id.
    pub items: BTreeMap<String, Value>,
}

/// What a source need not tell again.
#[derive(Debug, Clone, PartialEq)]
pub struct Since {
    /// What it told before.
    pub told: Told,
    /// From when on what it published is asked for.
    pub published_from: UtcTime,
}

/// Searches the sources for all scenes of a region and period.
///
/// The whole period is searched, so that late and reprocessed scenes join by being there, whenever they were published.
/// Of a source that can be asked by the time of publication, and is in `since`, only what is new is asked for and put to
/// what it told before; so what comes after the search does not depend on which of both it was, but for items that the
/// source took away. A source that fails is reported, and the others go on.
///
/// - `query`: must have a region; without a period all of Sentinel-2's time is searched, up to `until`.
/// - `until`: the last day to search; no source has anything after it.
/// - `since`: what need not be told again, by the source's name.
/// - `progress`: told what is being done.
///
/// # Errors
///
/// If no source could be searched at all, or the query has no region.
pub fn search(
    sources: &[Source],
    query: &Query<'_>,
    until: Day,
    since: &BTreeMap<String, Since>,
    progress: &dyn Fn(&str),
) -> Result<Search> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("search")
        .enable_all()
        .build()
        .map_err(|source| Error::Start { source })?;
    let mut reports = Vec::new();
    let mut by_source = Vec::new();
    let mut excluded = Vec::new();
    let mut warnings = BTreeSet::new();
    let mut catalog = None;
    let mut n_asked = 0;
    for source in sources {
        progress(&format!("searching {}", source.name()));
        let mut report = SourceReport {
            name: source.name().to_owned(),
            ..SourceReport::default()
        };
        let mut walk = Walk::default();
        let searched = match source.config.kind {
            SourceKind::StacApi => runtime.block_on(search_api(
                source,
                query,
                until,
                since.get(source.name()),
                &mut walk,
                &mut report,
            )),
            SourceKind::Static => {
                let path = source.path();
                report.is_complete = true;
                walk.read(&path, query.bands, Way::Remote(&runtime, source.remote()))
                    .map_err(|error| with_causes(&error))
            }
            SourceKind::Safe => {
                report.is_complete = true;
                safe::read_folder(&source.path(), query.bands, &mut walk)
                    .map_err(|error| with_causes(&error))
            }
        };
        match searched {
            Ok(()) => n_asked += 1,
            Err(problem) => {
                report.is_complete = false;
                report.problems.push(problem);
            }
        }
        walk.name_source(source.name());
        let sifted = sift(walk, query);
        if source.config.kind != SourceKind::StacApi {
            report.n_received = (sifted.found.scenes.len() + sifted.found.excluded.len()) as u64;
        }
        report.newest_published = sifted.newest_published;
        catalog = catalog.or(Some(sifted.found.catalog));
        by_source.push(sifted.found.scenes);
        excluded.extend(sifted.found.excluded);
        warnings.extend(sifted.found.warnings);
        reports.push(report);
    }
    if n_asked == 0 {
        let problems: Vec<String> = reports
            .iter()
            .flat_map(|report| {
                report
                    .problems
                    .iter()
                    .map(|problem| format!("{}: {problem}", report.name))
            })
            .collect();
        return Err(Error::NoSource {
            message: problems.join("; "),
        });
    }
    let mut scenes = merge_sources(by_source);
    scenes.sort_by(|a, b| (a.time, &a.id, &a.item_href).cmp(&(b.time, &b.id, &b.item_href)));
    excluded.sort_by_cached_key(|excluded: &crate::Excluded| {
        (
            excluded.time,
            excluded.id.clone(),
            excluded.source.clone(),
            excluded.reason.to_string(),
        )
    });
    Ok(Search {
        found: Found {
            catalog: catalog.unwrap_or_default(),
            scenes,
            excluded,
            warnings: warnings.into_iter().collect(),
        },
        sources: reports,
    })
}

/// One page of an answer.
pub(crate) struct Page {
    pub(crate) items: Vec<Value>,
    pub(crate) n_matched: Option<u64>,
    pub(crate) next: Option<Request>,
}

/// What is asked for a page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    pub(crate) url: String,
    /// The body of a POST; `None` is a GET.
    pub(crate) body: Option<Map<String, Value>>,
}

/// A part of the period, both ends included.
type Window = (UtcTime, UtcTime);

/// What one window of time gave.
struct WindowItems {
    items: BTreeMap<String, Value>,
    n_matched: Option<u64>,
    /// True if nothing speaks for more.
    is_whole: bool,
}

async fn search_api(
    source: &Source,
    query: &Query<'_>,
    until: Day,
    since: Option<&Since>,
    walk: &mut Walk,
    report: &mut SourceReport,
) -> std::result::Result<(), String> {
    let Some(region) = query.region else {
        return Err("a search needs an area".into());
    };
    let bounds = region.bounds();
    let question = question(source, bounds, query);
    let property = source.config.published_property.as_deref();
    let since = since.filter(|since| since.told.question == question);
    let mut newer = property
        .zip(since)
        .map(|(property, since)| (property, since.published_from));
    let first = query
        .period
        .map_or(FIRST_DAY, |period| period.start().max(FIRST_DAY));
    let last = query.period.map_or(until, |period| period.end().min(until));
    let midnight =
        |day: Day| DateTime::from_timestamp(i64::from(day.0) * 86_400, 0).unwrap_or_default();
    let end = midnight(Day(last.0.saturating_add(1))) - TimeDelta::seconds(1);
    // In order of time, so that the report does not depend on luck.
    let mut windows: Vec<Window> = vec![(midnight(first), end)];
    let mut items: BTreeMap<String, Value> = BTreeMap::new();
    let mut n_asked = 0;
    let mut is_complete = true;
    while let Some(window) = windows.pop() {
        if window.0 >= window.1 {
            continue;
        }
        let halves = || {
            let middle = window.0 + TimeDelta::seconds((window.1 - window.0).num_seconds() / 2);
            [(window.0, middle), (middle, window.1)]
        };
        let can_halve = window.1 - window.0 > MIN_WINDOW;
        let mut found = search_window(source, bounds, window, newer).await;
        // A server that does not take the question is asked for all.
        if n_asked == 0 && newer.is_some() && matches!(&found, Err(error) if error.status.is_some())
        {
            newer = None;
            found = search_window(source, bounds, window, newer).await;
        }
        match found {
            Ok(found) => {
                if n_asked == 0 {
                    report.n_matched = found.n_matched;
                }
                n_asked += 1;
                let is_whole = found.is_whole;
                items.extend(found.items);
                if !is_whole && can_halve {
                    windows.extend(halves().into_iter().rev());
                } else if !is_whole {
                    is_complete = false;
                    report.problems.push(format!(
                        "from {} to {} it has more than it sends",
                        text(window.0),
                        text(window.1)
                    ));
                }
            }
            // A window that is too much for the server may be answered in parts.
            Err(error) if can_halve && n_asked > 0 && error.status.is_some() => {
                windows.extend(halves().into_iter().rev());
            }
            Err(error) => {
                is_complete = false;
                report.problems.push(format!(
                    "from {} to {}: {error}",
                    text(window.0),
                    text(window.1)
                ));
                if n_asked == 0 {
                    return Err(report.problems.pop().unwrap_or_default());
                }
                // A server that is gone is not asked for each of many windows.
                if error.status.is_none() {
                    break;
                }
            }
        }
    }
    report.is_complete = is_complete && report.n_matched.is_none_or(|n| items.len() as u64 >= n);
    if let (Some((property, published_from)), Some(since)) = (newer, since) {
        // What was told before and reaches into the overlap must be told again. Else it was taken away, or the source did
        // not answer the question, and an empty answer would pass for nothing new.
        let is_lacking = since.told.items.iter().any(|(id, item)| {
            let published = item
                .get("properties")
                .and_then(|properties| properties.get(property)?.as_str())
                .and_then(|text| parse_time(text).ok());
            published.is_some_and(|time| time > published_from) && !items.contains_key(id)
        });
        if is_lacking && is_complete {
            report.n_matched = None;
            let all = search_api(source, query, until, None, walk, report);
            return Box::pin(all).await;
        }
        // How many there are of all it did not say.
        report.n_matched = None;
        report.published_from = Some(published_from);
        for (id, item) in &since.told.items {
            items.entry(id.clone()).or_insert_with(|| item.clone());
        }
    }
    report.n_received = items.len() as u64;
    for item in items.values() {
        let address = address_of(source, item);
        walk.read_item(item.clone(), Path::new(&address), None, query.bands);
    }
    if property.is_some() {
        items.retain(|id, item| item.get("id").and_then(Value::as_str) == Some(id));
        report.told = Some(Told { question, items });
    }
    Ok(())
}

/// What is asked of a source, whenever it was published.
fn question(source: &Source, bounds: [f64; 4], query: &Query<'_>) -> Value {
    let day = |day: Day| day.to_string();
    json!({
        "url": source.config.url,
        "collections": source.config.collections,
        "bbox": bounds,
        "from": query.period.map(|period| day(period.start())),
        "until": query.period.map(|period| day(period.end())),
    })
}

/// The address of an item: its link to itself, else its place in the API.
fn address_of(source: &Source, item: &Value) -> String {
    let links = item.get("links").and_then(Value::as_array);
    let own = links.into_iter().flatten().find_map(|link| {
        let is_self = link.get("rel")?.as_str()? == "self";
        let href = link.get("href")?.as_str()?;
        (is_self && href.starts_with("http")).then(|| crate::net::bare(href))
    });
    own.unwrap_or_else(|| {
        let part = |name: &str| {
            item.get(name)
                .and_then(Value::as_str)
                .unwrap_or("unknown")
                .to_owned()
        };
        format!(
            "{}/collections/{}/items/{}",
            source.config.url.trim_end_matches('/'),
            part("collection"),
            part("id")
        )
    })
}

/// All pages of one window of time.
async fn search_window(
    source: &Source,
    bounds: [f64; 4],
    window: Window,
    newer: Option<(&str, UtcTime)>,
) -> std::result::Result<WindowItems, NetError> {
    let limit = source.config.page_items;
    let mut body = Map::new();
    body.insert("bbox".into(), json!(bounds));
    body.insert(
        "datetime".into(),
        json!(format!("{}/{}", text(window.0), text(window.1))),
    );
    body.insert("limit".into(), json!(limit));
    if !source.config.collections.is_empty() {
        body.insert("collections".into(), json!(source.config.collections));
    }
    if let Some((property, from)) = newer {
        // STAC API extension "query", 1.0.
        body.insert("query".into(), json!({ property: { "gte": text(from) } }));
    }
    let url = format!("{}/search", source.config.url.trim_end_matches('/'));
    let mut request = Request {
        url: url.clone(),
        body: Some(body.clone()),
    };
    let mut asked: Vec<Request> = Vec::new();
    let mut items: BTreeMap<String, Value> = BTreeMap::new();
    let mut n_matched = None;
    for page_index in 0..MAX_PAGES {
        let page = match ask(source, &request).await {
            // Some servers take searches as GET alone.
            Err(error)
                if page_index == 0
                    && newer.is_none()
                    && matches!(error.status, Some(404 | 405 | 501)) =>
            {
                request = as_get(&url, &body);
                ask(source, &request).await?
            }
            other => other?,
        };
        n_matched = n_matched.or(page.n_matched);
        let n_of_page = page.items.len();
        let n_before = items.len();
        for (index, item) in page.items.into_iter().enumerate() {
            let id = item.get("id").and_then(Value::as_str).map(str::to_owned);
            // An item without a name is kept, so that it is told that it cannot be read.
            items.insert(
                id.unwrap_or_else(|| format!("page {page_index}, feature {index}")),
                item,
            );
        }
        let is_enough = n_matched.is_some_and(|n| items.len() as u64 >= n);
        match (n_matched, page.next) {
            _ if is_enough => {
                return Ok(WindowItems {
                    items,
                    n_matched,
                    is_whole: true,
                });
            }
            // Without a count only a page that is neither full nor goes on can be trusted.
            (None, next) => {
                let is_whole = next.is_none() && n_of_page < limit;
                if is_whole || window.1 - window.0 > MIN_WINDOW {
                    return Ok(WindowItems {
                        items,
                        n_matched,
                        is_whole,
                    });
                }
                // The window cannot be halved any more: the pages are followed as far as they lead.
                match next.filter(|next| !asked.contains(next) && items.len() > n_before) {
                    Some(next) => asked.push(std::mem::replace(&mut request, next)),
                    None => {
                        return Ok(WindowItems {
                            is_whole: n_of_page < limit,
                            items,
                            n_matched,
                        });
                    }
                }
            }
            (Some(_), Some(next))
                if n_of_page > 0 && items.len() > n_before && !asked.contains(&next) =>
            {
                asked.push(std::mem::replace(&mut request, next));
            }
            (Some(_), _) => break,
        }
    }
    Ok(WindowItems {
        items,
        n_matched,
        is_whole: false,
    })
}

async fn ask(source: &Source, request: &Request) -> std::result::Result<Page, NetError> {
    let bytes = match &request.body {
        Some(body) => {
            source
                .remote
                .post(&request.url, &Value::Object(body.clone()), MAX_PAGE_BYTES)
                .await?
        }
        None => source.remote.whole(&request.url, MAX_PAGE_BYTES).await?,
    };
    read_page(&bytes, request)
}

/// The items of an answer, how many there are in all, and where it goes on.
pub(crate) fn read_page(bytes: &[u8], request: &Request) -> std::result::Result<Page, NetError> {
    let mut page: Value = serde_json::from_slice(bytes).map_err(|error| {
        NetError::corrupt(&request.url, &format!("the answer is not JSON: {error}"))
    })?;
    let next = next_of(&page, request);
    let count = |pointer: &str| page.pointer(pointer).and_then(Value::as_u64);
    let n_matched = count("/numberMatched").or_else(|| count("/context/matched"));
    let Some(Value::Array(items)) = page.get_mut("features").map(Value::take) else {
        return Err(NetError::corrupt(
            &request.url,
            "the answer has no list of features",
        ));
    };
    Ok(Page {
        items,
        n_matched,
        next,
    })
}

/// The request that the link to the next page asks for (STAC API specification 1.0, "item search", paging).
fn next_of(page: &Value, request: &Request) -> Option<Request> {
    let link = page
        .get("links")?
        .as_array()?
        .iter()
        .find(|link| link.get("rel").and_then(Value::as_str) == Some("next"))?;
    let href = link.get("href")?.as_str()?;
    let url: String = Url::parse(&request.url).ok()?.join(href).ok()?.into();
    let method = link.get("method").and_then(Value::as_str).unwrap_or("GET");
    if !method.eq_ignore_ascii_case("POST") {
        return Some(Request { url, body: None });
    }
    let told = link
        .get("body")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let is_merged = link.get("merge").and_then(Value::as_bool).unwrap_or(false);
    let body = match &request.body {
        Some(own) if is_merged => {
            let mut merged = own.clone();
            merged.extend(told);
            merged
        }
        // A body that carries only a token stands for the rest of the query too: it is asked along with it.
        Some(own) if !told.contains_key("datetime") => {
            let mut whole = own.clone();
            whole.extend(told);
            whole
        }
        _ => told,
    };
    Some(Request {
        url,
        body: Some(body),
    })
}

fn as_get(url: &str, body: &Map<String, Value>) -> Request {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in body {
        let text = match value {
            Value::Array(values) => values
                .iter()
                .map(|value| {
                    value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned)
                })
                .collect::<Vec<_>>()
                .join(","),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        query.append_pair(name, &text);
    }
    Request {
        url: format!("{url}?{}", query.finish()),
        body: None,
    }
}

fn text(time: UtcTime) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::ExclusionReason;

    /// One line of the index of recorded pages, a tuple of Python: name, host, method, items, collections, whether it
    /// goes on, how (method and start of the body), how many items there are in all.
    struct Recorded {
        name: String,
        n_items: usize,
        next_method: Option<&'static str>,
        next_body: String,
        n_matched: Option<u64>,
    }

    fn recorded(line: &str) -> Recorded {
        let texts: Vec<&str> = line.split('\'').collect();
        let after_method = line.split(&format!("'{}', ", texts[5])).nth(1).unwrap();
        let n_items = after_method.split(',').next().unwrap().parse().unwrap();
        let last = line.trim_end_matches(')').rsplit(", ").next().unwrap();
        let going_on = line.split_once(", True, (");
        let next_method = going_on.map(|(_, how)| {
            if how.starts_with("'POST'") {
                "POST"
            } else {
                "GET"
            }
        });
        let next_body = going_on.map_or("", |(_, how)| how.split('\'').nth(3).unwrap());
        Recorded {
            name: texts[1].to_owned(),
            n_items,
            next_method,
            next_body: next_body.to_owned(),
            n_matched: last.parse().ok(),
        }
    }

    #[test]
    fn every_recorded_page_is_read_with_its_form_of_paging() {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/stac/recorded-pages");
        if !folder.is_dir() {
            eprintln!(
                "SKIP every_recorded_page_is_read_with_its_form_of_paging: ../shared/data is absent"
            );
            return;
        }
        let index = fs::read_to_string(folder.join("INDEX.txt")).unwrap();
        let mut n_scenes = 0;
        for line in index.lines().filter(|line| !line.is_empty()) {
            let told = recorded(line);
            let name = &told.name;
            let text = fs::read(folder.join(format!("{name}.json"))).unwrap();
            let record: Value = serde_json::from_slice(&text).unwrap();
            let asked = record["request"]["body"]
                .as_str()
                .map(|body| serde_json::from_str::<Map<String, Value>>(body).unwrap());
            let request = Request {
                url: record["request"]["uri"].as_str().unwrap().to_owned(),
                body: asked.clone(),
            };
            let page = read_page(record["response"].to_string().as_bytes(), &request).unwrap();
            assert_eq!(page.items.len(), told.n_items, "{name}");
            assert_eq!(page.n_matched, told.n_matched, "{name}");
            match (told.next_method, page.next) {
                (None, next) => assert_eq!(next, None, "{name}"),
                (Some("GET"), Some(next)) => {
                    assert_eq!(next.body, None, "{name}");
                    assert!(next.url.contains("token=next:"), "{name} {}", next.url);
                }
                (Some(_), Some(next)) => {
                    let body = next.body.unwrap();
                    let token = body.get("next").or_else(|| body.get("page")).unwrap();
                    let token = token.to_string();
                    // The index cuts long bodies short.
                    assert!(
                        told.next_body.contains(&token) || told.next_body.len() > 100,
                        "{name} {token}"
                    );
                    // A token alone does not stand for the query: what was asked is asked along with it.
                    for (key, value) in asked.iter().flatten().filter(|(key, _)| *key != "next") {
                        let is_list = value.is_array();
                        assert!(is_list || body.get(key) == Some(value), "{name} {key}");
                        assert!(body.contains_key(key), "{name} {key}");
                    }
                    assert_eq!(next.url, request.url, "{name}");
                }
                (Some(_), None) => panic!("{name} goes on"),
            }
            let mut walk = Walk::default();
            for item in page.items {
                walk.read_item(item, Path::new(name), None, &[]);
            }
            let found = sift(walk, &Query::default()).found;
            n_scenes += found.scenes.len();
            for excluded in found.excluded {
                let reason = excluded.reason;
                let is_true = match &reason {
                    ExclusionReason::Superseded { .. } => true,
                    // The request asked for items without assets.
                    _ if name == "test_fields-0" => reason.to_string().contains("assets"),
                    _ if excluded.id.contains("_L1C") => reason.to_string().starts_with("Level-1C"),
                    // Of Landsat and Sentinel-1.
                    _ => !excluded.id.starts_with("S2"),
                };
                assert!(is_true, "{name} {}: {reason}", excluded.id);
            }
        }
        assert_eq!(n_scenes, 78);
    }
}
