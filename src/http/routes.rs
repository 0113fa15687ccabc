//! All operations of all families in one trie of path templates.

use std::{collections::HashMap, fmt::Write as _};

use matchit::Router;
use percent_encoding::percent_decode_str;

use super::{Family, Method, Op};
use crate::base::metrics::{HttpMetrics, Operation};

/// One operation, mounted.
#[derive(Debug)]
pub struct Entry {
    /// Its family.
    pub family: &'static Family,
    /// Its row.
    pub op: &'static Op,
    /// The path template with the family's base: what logs show instead of the path.
    pub template: String,
    pub(super) duration: prometheus_client::metrics::histogram::Histogram,
}

#[derive(Debug, Default)]
struct Node {
    entries: Vec<usize>,
    allow: String,
}

/// Finds operations by path and method.
#[derive(Debug)]
pub struct Routes {
    trie: Router<usize>,
    nodes: Vec<Node>,
    entries: Vec<Entry>,
    families: Vec<&'static Family>,
}

/// What a path and method lead to.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// An operation, by its number for [`Routes::entry`], and the path's parameters.
    Operation(usize, Vec<String>),
    /// The path takes other methods: the value of `Allow`.
    Method(&'a str),
    /// Nothing stands there.
    Nothing,
}

impl Routes {
    /// Mounts the families. Fails with the template of a row that clashes with another.
    pub fn new(families: &[&'static Family], metrics: &HttpMetrics) -> Result<Self, String> {
        let mut routes =
            Self { trie: Router::new(), nodes: Vec::new(), entries: Vec::new(), families: families.to_vec() };
        // Rows that share a path may name its parameters differently, so the trie knows positions only.
        let mut known = HashMap::new();
        for family in families {
            for op in family.operations() {
                let template = op.full_path(family);
                let shape = positional(&template);
                let node = if let Some(node) = known.get(&shape) {
                    *node
                } else {
                    let node = routes.nodes.len();
                    routes
                        .trie
                        .insert(&*shape, node)
                        .map_err(|error| format!("{} {template}: {error}", op.method.name()))?;
                    routes.nodes.push(Node::default());
                    known.insert(shape, node);
                    node
                };
                let node = &mut routes.nodes[node];
                if node.entries.iter().any(|at| routes.entries[*at].op.method == op.method) {
                    return Err(format!("{} {template}: stands there twice", op.method.name()));
                }
                if !node.allow.is_empty() {
                    node.allow.push_str(", ");
                }
                node.allow.push_str(op.method.name());
                if op.method == Method::Get {
                    node.allow.push_str(", HEAD");
                }
                node.entries.push(routes.entries.len());
                let duration = metrics.duration.get_or_create_owned(&Operation { operation: op.id });
                routes.entries.push(Entry { family, op, template, duration });
            }
        }
        Ok(routes)
    }

    /// Finds what stands at `path` (as sent, without the query; slashes at its end do not count). A parameter that
    /// is not UTF-8 behind its percent signs, or holds a NUL, names nothing.
    pub fn find(&self, path: &str, method: &str) -> Found<'_> {
        let Some((node, params)) = self.at(path) else { return Found::Nothing };
        let method = Method::from_name(method);
        let entry = node.entries.iter().find(|at| Some(self.entries[**at].op.method) == method);
        let Some(entry) = entry else { return Found::Method(&node.allow) };
        let mut segments = Vec::with_capacity(params.len());
        for (_, value) in params.iter() {
            match percent_decode_str(value).decode_utf8() {
                Ok(text) if !text.contains('\0') => segments.push(text.into_owned()),
                _ => return Found::Nothing,
            }
        }
        Found::Operation(*entry, segments)
    }

    /// The methods that the path takes, for `Allow`.
    pub fn allow(&self, path: &str) -> Option<&str> {
        self.at(path).map(|(node, _)| node.allow.as_str())
    }

    fn at<'r, 'p>(&'r self, path: &'p str) -> Option<(&'r Node, matchit::Params<'r, 'p>)> {
        let found = self.trie.at(path.trim_end_matches('/')).ok()?;
        Some((&self.nodes[*found.value], found.params))
    }

    /// The operation of that number.
    pub fn entry(&self, number: usize) -> &Entry {
        &self.entries[number]
    }

    /// The family that `path` belongs to, also where no operation stands.
    pub fn family(&self, path: &str) -> Option<&'static Family> {
        self.families
            .iter()
            .copied()
            .find(|family| family.prefixes.iter().any(|prefix| path.starts_with(prefix)))
    }

    /// The family of that name.
    pub fn family_named(&self, name: &str) -> Option<&'static Family> {
        self.families.iter().copied().find(|family| family.name == name)
    }
}

/// `/a/{id}/b/{x}` as `/a/{0}/b/{1}`.
fn positional(template: &str) -> String {
    let mut shape = String::with_capacity(template.len());
    for (number, piece) in template.split('{').enumerate() {
        match piece.split_once('}') {
            Some((_, rest)) if number > 0 => {
                // Writing to a String cannot fail.
                let _ = write!(shape, "{{{}}}{rest}", number - 1);
            }
            _ => shape.push_str(piece),
        }
    }
    shape
}
