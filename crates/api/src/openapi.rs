//! The table of endpoints as an OpenAPI 3.1 document (<https://spec.openapis.org/oas/v3.1.1.html>).

use crate::args::SECRET;
use crate::describe::{Kind, Member, Object, Parameter, Returns, Shape};
use crate::login;
use crate::reply::Code;
use crate::routes::{self, Access, Group, Route};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What holds for every endpoint.
const ABOUT: &str = "The API of ZLMediaKit, as Tidegate offers it, with Tidegate's own endpoints.\n\n\
    GET with a query string, POST with a form and POST with a JSON object are the same call; PUT and DELETE are, too. Parameters \
    are looked for in the query string, then in the body, then among the request headers. Their names have no case, and an empty \
    one is a missing one. Switches are on for `1` and `true`, off for anything else; of a number the leading digits count.\n\n\
    The status is 200 for failures, too: `code` tells. Lists that are empty are absent.";

static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// The document. It is the same for as long as the program runs.
pub fn text() -> &'static str {
    &TEXT
}

fn document() -> Value {
    let mut objects = BTreeMap::new();
    let paths: Map<String, Value> = routes::ROUTES
        .iter()
        .map(|route| {
            let path = format!("{}{}", routes::PREFIX, route.name);
            (path, operations(route, &mut objects))
        })
        .collect();
    let mut schemas: Map<String, Value> = objects
        .into_iter()
        .map(|(name, object)| (name.to_owned(), named(object)))
        .collect();
    schemas.insert("Refusal".to_owned(), refusal());
    for route in routes::ROUTES.iter().filter(|route| has_body(route)) {
        schemas.insert(body_name(route), body(route));
    }
    let tags: Vec<Value> = Group::ALL
        .iter()
        .map(|group| json!({"name": group.title()}))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "LengthRequired": {"description": "POST over HTTP/1.1 without `Content-Length`."},
                "HeadTooLarge": {
                    "description": "The head of the request, the query string in it, is longer than the server takes.",
                    "content": {"text/plain": {}},
                },
                "TooLarge": {"description": "The body is longer than `http.maxReqSize`."},
            },
            "securitySchemes": {
                "secret": {
                    "type": "apiKey", "in": "query", "name": SECRET,
                    "description": "`api.secret` of the configuration; also as a parameter in the body.",
                },
                "secretHeader": {
                    "type": "apiKey", "in": "header", "name": SECRET,
                    "description": "The same as a request header, which is not logged with the URL.",
                },
                "login": {
                    "type": "apiKey", "in": "cookie", "name": login::LOGGED_IN,
                    "description": "The cookie that `login` sets.",
                },
            },
        },
    })
}

fn operations(route: &'static Route, objects: &mut Objects) -> Value {
    let about = &route.about;
    let parameters: Vec<Value> = about.all_parameters().iter().map(in_query).collect();
    let mut get = json!({
        "operationId": route.name,
        "tags": [route.group.title()],
        "summary": about.summary,
        "responses": responses(route, objects),
    });
    let permission = match route.access {
        Access::Secret => json!([{"secret": []}, {"secretHeader": []}, {"login": []}]),
        Access::SecretOrHook => json!([{"secret": []}, {"secretHeader": []}, {"login": []}, {}]),
        Access::Address | Access::Open => json!([]),
    };
    get["security"] = permission;
    if about.own {
        get["description"] = "Tidegate's own; ZLM has no such endpoint.".into();
    }
    get["responses"]["431"] = json!({"$ref": "#/components/responses/HeadTooLarge"});
    let mut post = get.clone();
    get["parameters"] = parameters.into();
    post["operationId"] = format!("{}Post", route.name).into();
    if has_body(route) {
        let schema = json!({"schema": {"$ref": format!("#/components/schemas/{}", body_name(route))}});
        post["requestBody"] = json!({
            // What is not in it is looked for in the query string and among the headers.
            "required": false,
            "content": {"application/json": schema, "application/x-www-form-urlencoded": schema},
        });
    }
    post["responses"]["411"] = json!({"$ref": "#/components/responses/LengthRequired"});
    post["responses"]["413"] = json!({"$ref": "#/components/responses/TooLarge"});
    json!({"get": get, "post": post})
}

fn has_body(route: &Route) -> bool {
    !route.about.parameters.is_empty()
}

fn body_name(route: &Route) -> String {
    format!("{}Parameters", route.name)
}

fn in_query(parameter: &Parameter) -> Value {
    let mut value = json!({
        "name": parameter.name,
        "in": "query",
        "description": parameter.about,
        "required": parameter.required,
        "schema": of_parameter(parameter),
    });
    if parameter.kind == Kind::ConfigKeys {
        value["style"] = "form".into();
        value["explode"] = true.into();
    }
    value
}

fn body(route: &Route) -> Value {
    let mut properties = Map::new();
    let mut schema = json!({"type": "object"});
    for parameter in route.about.all_parameters() {
        let mut property = of_parameter(&parameter);
        if parameter.kind == Kind::ConfigKeys {
            schema = property;
            schema["description"] = parameter.about.into();
            continue;
        }
        property["description"] = parameter.about.into();
        properties.insert(parameter.name.to_owned(), property);
    }
    if !properties.is_empty() {
        schema["properties"] = properties.into();
    }
    let required: Vec<&str> = route.about.required().collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn of_parameter(parameter: &Parameter) -> Value {
    let min_length = u8::from(parameter.required);
    let mut schema = match parameter.kind {
        Kind::Text(max) => json!({"type": "string", "minLength": min_length, "maxLength": max}),
        Kind::Word(words) => json!({"type": "string", "enum": words}),
        Kind::Switch => json!({"type": "boolean"}),
        Kind::Int(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Number(min, max) => json!({"type": "number", "minimum": min, "maximum": max}),
        Kind::ConfigKeys => json!({"type": "object", "additionalProperties": {"type": "string"}}),
    };
    if let Some(default) = parameter.default {
        schema["default"] = match parameter.kind {
            Kind::Switch => (default == "1").into(),
            Kind::Int(..) => default.parse::<i64>().map_or(Value::Null, Value::from),
            Kind::Number(..) => default.parse::<f64>().map_or(Value::Null, Value::from),
            Kind::Text(_) | Kind::Word(_) | Kind::ConfigKeys => default.into(),
        };
    }
    schema
}

fn responses(route: &'static Route, objects: &mut Objects) -> Value {
    let json = |schema: Value| json!({"application/json": {"schema": schema}});
    let refused = json!({"$ref": "#/components/schemas/Refusal"});
    match route.about.returns {
        Returns::Members(members) => {
            let mut success = object(members, objects);
            success["properties"]["code"] = json!({"const": Code::Success as i32});
            success["required"]
                .as_array_mut()
                .expect("`required` is an array")
                .push("code".into());
            let content = json(json!({"anyOf": [success, refused]}));
            json!({"200": {"description": "Success, or why not.", "content": content}})
        }
        Returns::Document(about) => {
            let content = json(json!({"anyOf": [{"type": "object", "required": ["openapi"]}, refused]}));
            json!({"200": {"description": about, "content": content}})
        }
        Returns::File(about) => {
            let bytes = json!({"*/*": {}});
            json!({
                "200": {"description": format!("{about} JSON if the call itself is wrong."), "content": bytes},
                "206": {"description": "The part that `Range` asks for.", "content": bytes},
                "304": {"description": "The client has it already."},
                "401": {"description": "Not permitted; the reason as text.", "content": {"text/plain": {}}},
                "404": {"description": "No such file.", "content": {"text/html": {}}},
                "412": {"description": "A condition of the request does not hold."},
                "416": {"description": "`Range` is beyond the end."},
                "503": {"description": "Too many files are being sent.", "content": {"text/plain": {}}},
            })
        }
    }
}

fn refusal() -> Value {
    let codes = [
        (Code::Failed, "the operation failed"),
        (Code::Auth, "not permitted"),
        (Code::InvalidArgs, "a parameter is missing or wrong"),
        (Code::Exception, "an exception of ZLM"),
        (Code::NotFound, "no such thing"),
    ];
    let numbers: Vec<i32> = codes.iter().map(|(code, _)| *code as i32).collect();
    let words: Vec<String> = codes
        .iter()
        .map(|(code, words)| format!("{} {words}", *code as i32))
        .collect();
    json!({
        "type": "object",
        "description": "Why a call was not carried out.",
        "properties": {
            "code": {"type": "integer", "enum": numbers, "description": words.join(", ")},
            "msg": {"type": "string", "description": "The reason, for people."},
            "cookie": {"type": "string", "description": "With -100: for the digest of a login."},
        },
        "required": ["code", "msg"],
    })
}

/// Objects that were named, to be described once.
type Objects = BTreeMap<&'static str, &'static Object>;

fn named(object: &'static Object) -> Value {
    // What it names in turn was noted when it was.
    let mut schema = self::object(object.members, &mut Objects::new());
    schema["description"] = object.about.into();
    schema
}

fn object(members: &'static [Member], objects: &mut Objects) -> Value {
    let mut properties = Map::new();
    for member in members {
        let mut schema = of_shape(&member.shape, objects);
        schema["description"] = member.about.into();
        properties.insert(member.name.to_owned(), schema);
    }
    let required: Vec<&str> = members
        .iter()
        .filter(|member| !member.optional)
        .map(|member| member.name)
        .collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn of_shape(shape: &'static Shape, objects: &mut Objects) -> Value {
    match shape {
        Shape::Text => json!({"type": "string"}),
        Shape::Word(words) => json!({"type": "string", "enum": words}),
        Shape::Int => json!({"type": "integer"}),
        Shape::Real => json!({"type": "number"}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::List(of) => json!({"type": "array", "items": of_shape(of, objects)}),
        Shape::Object(members) => object(members, objects),
        Shape::Map(of) => json!({"type": "object", "additionalProperties": of_shape(of, objects)}),
        Shape::Named(object) => reference(object, objects),
        Shape::NamedOrNull(object) => json!({"anyOf": [reference(object, objects), {"type": "null"}]}),
    }
}

fn reference(object: &'static Object, objects: &mut Objects) -> Value {
    let known = objects.insert(object.name, object);
    debug_assert!(
        known.is_none_or(|known| std::ptr::eq(known, object)),
        "two objects {}",
        object.name
    );
    if known.is_none() {
        for member in object.members {
            of_shape(&member.shape, objects);
        }
    }
    json!({"$ref": format!("#/components/schemas/{}", object.name)})
}
