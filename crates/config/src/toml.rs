//! Configuration in TOML: the same sections and keys as in INI, plus `[[source]]` rules and
//! `[[hook_endpoint]]` tables. Values become the text that INI
//! would hold, so that everything behind sees one form. A rewritten file keeps its order and comments.

use crate::config::Config;
use crate::error::{Error, Origin};
use crate::hook_endpoint::{self, HookEndpoint, MAX_ENDPOINTS};
use crate::key::{TomlType, boolean, decimal, whole};
use crate::keys;
use crate::source::{Field, MAX_RULES, Problem, SourceRule};
use std::sync::Arc;
use toml_edit::{Document, DocumentMut, Item, Table, TableLike, Value};

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub pairs: Vec<crate::ini::Pair>,
    /// With the line at which each begins.
    pub rules: Vec<(SourceRule, usize)>,
    /// `[[hook_endpoint]]` tables.
    pub endpoints: Vec<HookEndpoint>,
}

/// Reads a file, as much of it as can be understood.
pub(crate) fn read(text: &str, file: &Arc<str>, errors: &mut Vec<Error>) -> Read {
    let mut reader = Reader {
        text,
        file,
        errors,
        read: Read::default(),
    };
    match Document::parse(text) {
        Ok(document) => reader.table("", document.as_table()),
        Err(error) => {
            let line = reader.line(error.span().map_or(0, |span| span.start));
            let reason = error.message().lines().collect::<Vec<_>>().join(" ");
            reader.errors.push(Error::Syntax {
                file: file.clone(),
                line,
                reason,
            });
        }
    }
    reader.read
}

struct Reader<'a> {
    text: &'a str,
    file: &'a Arc<str>,
    errors: &'a mut Vec<Error>,
    read: Read,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    fn origin(&self, line: usize) -> Origin {
        Origin::File {
            file: self.file.clone(),
            line,
        }
    }

    /// The parser bounds the nesting of tables, so this ends.
    fn table(&mut self, prefix: &str, table: &dyn TableLike) {
        for (key, item) in table.iter() {
            let name = if prefix.is_empty() {
                key.to_owned()
            } else {
                format!("{prefix}.{key}")
            };
            let at = table
                .key(key)
                .and_then(toml_edit::Key::span)
                .or_else(|| item.span());
            let line = self.line(at.map_or(0, |span| span.start));
            if name == "source" {
                self.rules(item, line);
            } else if name == "hook_endpoint" {
                self.endpoints(item, line);
            } else if let Some(inner) = item.as_table_like() {
                self.table(&name, inner);
            } else {
                self.value(name, item, line);
            }
        }
    }

    fn value(&mut self, name: String, item: &Item, line: usize) {
        let value = item.as_value();
        let scalar_text = value.and_then(scalar);
        let list = || {
            let separator = keys::find(&name)?.kind.separator()?;
            let parts: Option<Vec<_>> = value?.as_array()?.iter().map(scalar).collect();
            Some(parts?.join(&separator.to_string()))
        };
        match scalar_text.or_else(list) {
            Some(value) => self.read.pairs.push(crate::ini::Pair { name, value, line }),
            None => {
                let found = match item.type_name() {
                    "array" | "array of tables" => "a list",
                    "datetime" => "a date",
                    "float" => "a number that is not finite",
                    _ => "of a type that no key has",
                };
                self.errors.push(Error::Type {
                    origin: self.origin(line),
                    key: name,
                    found,
                });
            }
        }
    }

    fn rules(&mut self, item: &Item, line: usize) {
        let found = "not a list of rules, which begin with [[source]]";
        let Some(tables) = self.tables(item, line, ("source", found), MAX_RULES) else {
            return;
        };
        for (index, (table, line)) in tables.into_iter().enumerate() {
            match crate::source::read(&fields(table)) {
                Ok(rule) => self.read.rules.push((rule, line)),
                Err(problems) => {
                    for (field, problem) in problems {
                        let origin = self.field_origin(table, &field, line);
                        self.errors.push(Error::Rule {
                            origin,
                            number: index + 1,
                            field,
                            problem,
                        });
                    }
                }
            }
        }
    }

    fn endpoints(&mut self, item: &Item, line: usize) {
        let found = "not a list of endpoints, which begin with [[hook_endpoint]]";
        let Some(tables) = self.tables(item, line, ("hook_endpoint", found), MAX_ENDPOINTS) else {
            return;
        };
        for (index, (table, line)) in tables.into_iter().enumerate() {
            let refuse = |reader: &mut Self, field: String, problem| {
                let origin = reader.field_origin(table, &field, line);
                reader.errors.push(Error::Endpoint {
                    origin,
                    number: index + 1,
                    field,
                    problem,
                });
            };
            match hook_endpoint::read(&fields(table)) {
                Ok(endpoint)
                    if self
                        .read
                        .endpoints
                        .iter()
                        .any(|other| other.name == endpoint.name) =>
                {
                    refuse(self, "name".to_owned(), Problem::Taken);
                }
                Ok(endpoint) => self.read.endpoints.push(endpoint),
                Err(problems) => {
                    for (field, problem) in problems {
                        refuse(self, field, problem);
                    }
                }
            }
        }
    }

    /// The tables of a list, with their lines. `found` is what to say of something else.
    fn tables<'i>(
        &mut self,
        item: &'i Item,
        line: usize,
        (key, found): (&'static str, &'static str),
        max: usize,
    ) -> Option<Vec<(&'i dyn TableLike, usize)>> {
        let tables: Vec<(&dyn TableLike, Option<usize>)> = match item {
            Item::ArrayOfTables(tables) => tables
                .iter()
                .map(|table| (table as &dyn TableLike, table.span().map(|span| span.start)))
                .collect(),
            Item::Value(Value::Array(array)) if array.iter().all(Value::is_inline_table) => array
                .iter()
                .filter_map(Value::as_inline_table)
                .map(|table| (table as &dyn TableLike, table.span().map(|span| span.start)))
                .collect(),
            Item::None | Item::Value(_) | Item::Table(_) => {
                self.errors.push(Error::Type {
                    origin: self.origin(line),
                    key: key.to_owned(),
                    found,
                });
                return None;
            }
        };
        if tables.len() > max {
            let (file, got) = (self.file.clone(), tables.len());
            self.errors.push(if key == "source" {
                Error::TooManyRules { file, got, max }
            } else {
                Error::TooManyEndpoints { file, got, max }
            });
            return None;
        }
        let lines = tables
            .into_iter()
            .map(|(table, at)| (table, at.map_or(line, |at| self.line(at))));
        Some(lines.collect())
    }

    /// Where a field of a table stands, or the table if it has no such field.
    fn field_origin(&self, table: &dyn TableLike, field: &str, line: usize) -> Origin {
        let at = table.key(field).and_then(toml_edit::Key::span);
        self.origin(at.map_or(line, |span| self.line(span.start)))
    }
}

fn fields(table: &dyn TableLike) -> Vec<Field> {
    table
        .iter()
        .map(|(name, item)| Field {
            name: name.to_owned(),
            value: field(item.as_value()),
        })
        .collect()
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().trim().to_owned()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Float(number) if number.value().is_finite() => Some(number.value().to_string()),
        Value::Boolean(on) => Some(if *on.value() { "1" } else { "0" }.to_owned()),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::InlineTable(_) => None,
    }
}

fn field(value: Option<&Value>) -> crate::source::FieldValue {
    use crate::source::FieldValue;
    match value {
        Some(Value::String(text)) => FieldValue::Text(text.value().clone()),
        Some(Value::Integer(number)) => FieldValue::Int(*number.value()),
        Some(Value::Float(number)) => FieldValue::Float(*number.value()),
        Some(Value::Boolean(on)) => FieldValue::Bool(*on.value()),
        Some(Value::Array(array)) => {
            let texts = array.iter().map(|item| item.as_str().map(str::to_owned));
            texts
                .collect::<Option<_>>()
                .map_or(FieldValue::Other, FieldValue::List)
        }
        Some(Value::Datetime(_) | Value::InlineTable(_)) | None => FieldValue::Other,
    }
}

/// The text of the file after `config` was changed. Only changed values are written: a TOML file is Tidegate's own, so
/// there is no need to freeze the built-in ones in it. Fails only if the text is not TOML any more.
pub(crate) fn rewrite(text: &str, config: &Config) -> Result<String, toml_edit::TomlError> {
    let mut document: DocumentMut = text.parse()?;
    let store = config.store();
    for name in store.names().into_iter().filter(|name| store.is_dirty(name)) {
        let Some(text) = store.for_file(name) else {
            continue;
        };
        put(document.as_table_mut(), name, value(name, text));
    }
    Ok(document.to_string())
}

/// Replaces the value at a dotted path and keeps the comment behind it. Where the path leads through something that is no
/// table, there is no place for it; such a file was refused when it was loaded.
fn put(table: &mut dyn TableLike, path: &str, mut new: Value) {
    if let Some((section, rest)) = path.split_once('.') {
        let inner = table.entry(section).or_insert_with(|| Item::Table(Table::new()));
        if let Some(inner) = inner.as_table_like_mut() {
            put(inner, rest, new);
        }
        return;
    }
    match table.get_mut(path) {
        Some(item) => {
            if let Some(old) = item.as_value() {
                *new.decor_mut() = old.decor().clone();
            }
            *item = Item::Value(new);
        }
        None => {
            table.insert(path, Item::Value(new));
        }
    }
}

/// The value in the type that suits the key.
pub(crate) fn value(name: &str, text: &str) -> Value {
    let kind = keys::find(name).map_or(TomlType::Text, |key| key.kind.toml_type());
    let typed = match kind {
        TomlType::Bool => boolean(text).map(Value::from),
        TomlType::Int => integer(text).map(Value::from),
        TomlType::Number => integer(text)
            .map(Value::from)
            .or_else(|| decimal(text).map(Value::from)),
        TomlType::Text => None,
    };
    typed.unwrap_or_else(|| Value::from(text))
}

fn integer(text: &str) -> Option<i64> {
    whole(text).and_then(|number| i64::try_from(number).ok())
}
