//! Every reply that any test here gets is held against the description of its endpoint, and the document against the table.

use crate::fake::{Client, Fake, SECRET};
use api::describe::{Member, Returns, Shape};
use api::routes::{Access, PREFIX, ROUTES};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Fails if a reply has a member that is not described, lacks one that is, or has one of another type.
#[track_caller]
pub fn check(path: &str, reply: &Value) {
    let name = path.to_ascii_lowercase();
    let Some(name) = name.strip_prefix(PREFIX) else {
        return;
    };
    let route = ROUTES.iter().find(|route| route.name.eq_ignore_ascii_case(name));
    let (Some(route), true) = (route, reply["code"] == 0) else {
        return;
    };
    let Returns::Members(members) = route.about.returns else {
        return;
    };
    let mut reply = reply.clone();
    reply.as_object_mut().expect("an object").remove("code");
    check_object(route.name, members, &reply);
}

fn check_object(at: &str, members: &[Member], value: &Value) {
    let object = value
        .as_object()
        .unwrap_or_else(|| panic!("{at} is no object: {value}"));
    for name in object.keys() {
        assert!(
            members.iter().any(|member| member.name == name),
            "{at}.{name} is not described"
        );
    }
    for member in members {
        let at = format!("{at}.{}", member.name);
        match object.get(member.name) {
            Some(value) => check_shape(&at, &member.shape, value),
            None => assert!(member.optional, "{at} is missing"),
        }
    }
}

fn check_shape(at: &str, shape: &Shape, value: &Value) {
    let fits = match shape {
        Shape::Text => value.is_string(),
        Shape::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        Shape::Int => value.is_i64() || value.is_u64(),
        Shape::Real => value.is_f64(),
        Shape::Bool => value.is_boolean(),
        Shape::List(of) => {
            let items = value.as_array().unwrap_or_else(|| panic!("{at} is {value}"));
            items.iter().for_each(|item| check_shape(at, of, item));
            true
        }
        Shape::Map(of) => {
            let members = value.as_object().unwrap_or_else(|| panic!("{at} is {value}"));
            members.values().for_each(|item| check_shape(at, of, item));
            true
        }
        Shape::Object(members) => {
            check_object(at, members, value);
            true
        }
        Shape::NamedOrNull(_) if value.is_null() => true,
        Shape::Named(object) | Shape::NamedOrNull(object) => {
            check_object(at, object.members, value);
            true
        }
    };
    assert!(fits, "{at} is {value}, described as {shape:?}");
}

async fn document() -> Value {
    let response = Client::new(Fake::default()).get("/index/api/openapi.json").await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(
        response.headers["content-type"],
        "application/json; charset=utf-8"
    );
    response.json()
}

#[tokio::test]
async fn the_document_needs_no_secret_but_an_address_that_may_use_the_api() {
    let document = document().await;
    assert_eq!(document["openapi"], "3.1.0");
    assert!(!document.to_string().contains(SECRET));
    let elsewhere = Fake::default();
    elsewhere.set("http.allow_ip_range", "10.0.0.0-10.255.255.255");
    let refused = Client::new(elsewhere).get("/index/api/openapi.json").await.json();
    assert_eq!(
        refused,
        json!({"code": -100, "msg": "Your ip is not allowed to access the service."})
    );
}

#[tokio::test]
async fn the_document_has_every_endpoint_with_its_parameters_in_all_ways_of_calling() {
    let document = document().await;
    let paths = document["paths"].as_object().expect("paths");
    assert_eq!(paths.len(), ROUTES.len());
    let mut ids = BTreeSet::new();
    for route in ROUTES {
        let operations = &paths[&format!("{PREFIX}{}", route.name)];
        for method in ["get", "post"] {
            let operation = &operations[method];
            let id = operation["operationId"].as_str().expect("an id");
            assert!(ids.insert(id.to_owned()), "{id} twice");
            assert!(
                operation["summary"]
                    .as_str()
                    .is_some_and(|text| text.ends_with('.'))
            );
            let open = operation["security"] == json!([]);
            assert_eq!(
                open,
                matches!(route.access, Access::Open | Access::Address),
                "{id}"
            );
        }
        let in_query = operations["get"]["parameters"].as_array().expect("parameters");
        let all = route.about.all_parameters();
        assert_eq!(in_query.len(), all.len());
        let body = &operations["post"]["requestBody"]["content"];
        assert_eq!(body.is_null(), all.is_empty(), "{}", route.name);
        assert_eq!(
            body["application/json"], body["application/x-www-form-urlencoded"],
            "{}",
            route.name
        );
        let Some(reference) = body["application/json"]["schema"]["$ref"].as_str() else {
            continue;
        };
        let body = document
            .pointer(reference.trim_start_matches('#'))
            .expect("the body is described");
        for parameter in in_query {
            let name = parameter["name"].as_str().expect("a name");
            if name == "keys" {
                continue;
            }
            let mut property = body["properties"][name].clone();
            let about = property.as_object_mut().expect(name).remove("description");
            assert_eq!(property, parameter["schema"], "{name} of {}", route.name);
            assert_eq!(about.as_ref(), Some(&parameter["description"]));
            let required = body["required"]
                .as_array()
                .is_some_and(|required| required.contains(&json!(name)));
            assert_eq!(parameter["required"], required, "{name} of {}", route.name);
        }
    }
}

#[tokio::test]
async fn the_document_refers_only_to_what_is_in_it() {
    fn check(document: &Value, value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let pointer = reference.strip_prefix('#').expect("a reference inside");
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                members.values().for_each(|value| check(document, value));
            }
            Value::Array(items) => items.iter().for_each(|value| check(document, value)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = document().await;
    check(&document, &document);
}

/// The descriptions of parameters are checked when they are read (see `Args`); here every endpoint reads all of them.
#[tokio::test]
async fn every_endpoint_can_be_called_with_every_parameter_it_describes() {
    for route in ROUTES {
        let client = Client::new(Fake::default());
        let members: serde_json::Map<String, Value> = route
            .about
            .all_parameters()
            .iter()
            .map(|parameter| {
                let words = match parameter.kind {
                    api::describe::Kind::Word(words) => words[0],
                    _ => parameter.default.unwrap_or("1"),
                };
                (parameter.name.to_owned(), json!(words))
            })
            .collect();
        let reply = client
            .send(
                "POST",
                &format!("{PREFIX}{}?secret={SECRET}", route.name),
                &[("content-type", "application/json")],
                &Value::Object(members).to_string(),
            )
            .await;
        assert_ne!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{}", route.name);
        if matches!(route.about.returns, Returns::Members(_)) && route.access == Access::Secret {
            assert_ne!(reply.json()["code"], -100, "{}", route.name);
        }
    }
}
