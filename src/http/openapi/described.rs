//! What somebody who calls the service is told of one operation, besides what the table of routes says itself.

use std::collections::BTreeMap;

use utoipa::{
    ToSchema,
    openapi::{
        Content, ContentBuilder, ObjectBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema,
        link::LinkBuilder,
        path::{Parameter, ParameterBuilder, ParameterIn},
        request_body::{RequestBody, RequestBodyBuilder},
    },
};

use super::{examples::Example, schemas};

pub(in crate::http) const JSON: &str = "application/json";

/// An operation. What it needs, where it is and which errors follow from that is found in its route.
pub(in crate::http) struct Described {
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: String,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<RequestBody>,
    pub(super) answers: BTreeMap<u16, Response>,
    /// Errors besides those that every such route can answer.
    pub(super) errors: Vec<u16>,
    /// Schemas that are named in it.
    pub(in crate::http) schemas: Vec<(String, RefOr<Schema>)>,
    /// Whether it is answered however many requests come, and whoever asks how often.
    pub(super) is_probe: bool,
}

impl Described {
    /// An operation by its name for programs, its group and its name for people.
    pub(in crate::http) fn new(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            tag,
            summary,
            description: String::new(),
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            errors: Vec::new(),
            schemas: Vec::new(),
            is_probe: false,
        }
    }

    /// What there is to know of it, in Markdown.
    pub(in crate::http) fn saying(mut self, description: &str) -> Self {
        description.clone_into(&mut self.description);
        self
    }

    /// It is a probe.
    pub(in crate::http) fn probe(mut self) -> Self {
        self.is_probe = true;
        self
    }

    /// A parameter of the query.
    pub(in crate::http) fn query(self, name: &str, description: &str, schema: ObjectBuilder) -> Self {
        self.parameter(ParameterIn::Query, name, description, schema)
    }

    /// A header that the request may have.
    pub(in crate::http) fn header(self, name: &str, description: &str, schema: ObjectBuilder) -> Self {
        self.parameter(ParameterIn::Header, name, description, schema)
    }

    fn parameter(mut self, place: ParameterIn, name: &str, description: &str, schema: ObjectBuilder) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(schema));
        self.parameters.push(parameter.build());
        self
    }

    /// The body that it takes: a schema with a name, and an example with one.
    pub(in crate::http) fn body<const N: usize>(
        mut self,
        name: &'static str,
        schema: impl Into<RefOr<Schema>>,
        examples: [(&str, Example); N],
    ) -> Self {
        self.schemas.push((name.to_owned(), schema.into()));
        let content = ContentBuilder::new()
            .schema(Some(schemas::named(name)))
            .examples_from_iter(examples.map(|(name, example)| (name, example.described())));
        let body = RequestBodyBuilder::new()
            .content(JSON, content.build())
            .required(Some(Required::True));
        self.body = Some(body.build());
        self
    }

    /// An answer in JSON of this shape.
    pub(in crate::http) fn answers<T: ToSchema>(
        mut self,
        status: u16,
        description: &str,
        example: Example,
    ) -> Self {
        let name = T::name();
        let content = ContentBuilder::new()
            .schema(Some(schemas::named(&name)))
            .example(Some(example.value()));
        self.schemas.push((name.into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        let entry = self.answers.entry(status).or_default();
        description.clone_into(&mut entry.description);
        entry.content.insert(JSON.to_owned(), content.build().into());
        self
    }

    /// An answer of another kind. What is said of it is added to what was said of others with this status.
    pub(in crate::http) fn answers_with(
        mut self,
        status: u16,
        description: &str,
        kind: &str,
        content: Content,
    ) -> Self {
        let entry = self.answers.entry(status).or_default();
        if !entry.description.is_empty() && !description.is_empty() {
            entry.description.push(' ');
        }
        entry.description.push_str(description);
        entry.content.insert(kind.to_owned(), content.into());
        self
    }

    /// An answer with nothing in it.
    pub(in crate::http) fn answers_nothing(mut self, status: u16, description: &str) -> Self {
        let response = ResponseBuilder::new().description(description);
        self.answers.insert(status, response.build());
        self
    }

    /// The answer has this header, which is described among the headers.
    pub(in crate::http) fn telling(mut self, status: u16, header: &str) -> Self {
        let response = self.answers.entry(status).or_default();
        let described = Ref::new(format!("#/components/headers/{header}"));
        response.headers.insert(header.to_owned(), RefOr::Ref(described));
        self
    }

    /// From the answer one can go on to another operation, with these of its parameters.
    pub(in crate::http) fn leading(
        mut self,
        status: u16,
        to: &'static str,
        parameters: &[(&str, &str)],
    ) -> Self {
        let link = parameters
            .iter()
            .fold(LinkBuilder::new().operation_id(to), |link, (name, from)| {
                link.parameter(*name, *from)
            });
        let response = self.answers.entry(status).or_default();
        response.links.insert(to.to_owned(), link.build().into());
        self
    }

    /// An error besides those that every such route can answer.
    pub(in crate::http) fn failing(mut self, status: u16) -> Self {
        self.errors.push(status);
        self
    }

    /// A schema that is named somewhere in it.
    pub(in crate::http) fn naming(
        mut self,
        name: impl Into<String>,
        schema: impl Into<RefOr<Schema>>,
    ) -> Self {
        self.schemas.push((name.into(), schema.into()));
        self
    }
}
