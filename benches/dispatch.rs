//! Finding an operation: what the dispatcher costs above a bare handler, with every path of the contract mounted.
//!
//! `cargo bench --bench dispatch`; the budget is 2 µs for a request (DESIGN §7).

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use switchboard::{
    api,
    base::metrics::Metrics,
    domain::query::{Field, Filter, Kind},
    http::{
        Auth, Family, Method, Op, Options, Permissions, Reply, family::Credentials, openapi, routes::Routes,
    },
};

/// A family with a row for every operation of the contract, also those that are not there yet.
fn everything() -> &'static Family {
    let mut rows = Vec::new();
    for family in api::FAMILIES {
        let document = openapi::merged(family.contract).expect("the contract is YAML");
        for (path, methods) in document["paths"].as_object().into_iter().flatten() {
            for method in methods.as_object().into_iter().flatten() {
                let Some(method) = Method::from_name(&method.0.to_uppercase()) else { continue };
                rows.push(Op {
                    id: "x",
                    doc: "x",
                    method,
                    path: path.clone().leak(),
                    auth: Auth::None,
                    permissions: Permissions::NONE,
                    status: 200,
                    codes: &[],
                    options: Options::new(),
                    call: |_| Box::pin(async { Ok(Reply::empty(200)) }),
                });
            }
        }
    }
    let tables: &'static [&'static [Op]] = vec![&*rows.leak()].leak();
    Box::leak(Box::new(Family {
        name: "everything",
        base: "/api",
        prefixes: &["/api/"],
        tables,
        contract: &[],
        headers: &[],
        credentials: |_| Credentials::default(),
        refuse: |_, _| Reply::empty(400),
    }))
}

fn dispatch(criterion: &mut Criterion) {
    let family = everything();
    let routes = Routes::new(&[family], &Metrics::new().http).expect("the contract's paths do not clash");
    let mut group =
        criterion.benchmark_group(format!("routes of {} operations", family.operations().count()));
    for (name, method, path) in [
        ("plain", "GET", "/api/v1r1/workbox/messages"),
        ("one parameter", "GET", "/api/v1r1/workbox/messages/123456"),
        (
            "two parameters",
            "GET",
            "/api/v1r1/enterprise/calls/call_0190b1c2-0000-7000-8000-000000000001/attachments/7",
        ),
        ("nothing there", "GET", "/api/v1r1/workbox/messages/1/2/3/4"),
    ] {
        group
            .bench_function(name, |bencher| bencher.iter(|| routes.find(black_box(path), black_box(method))));
    }
    group.finish();
}

fn filter(criterion: &mut Criterion) {
    static FIELDS: &[Field] = &[
        Field::new("email", "p.email_key", Kind::Folded),
        Field::new("name", "p.name", Kind::Text),
        Field::new("updated_at", "p.updated_at", Kind::Time),
    ];
    let text = "name~=%smith% and updated_at>2024-05-01T10:00:00.000000Z";
    criterion.bench_function("filter of two conditions", |bencher| {
        bencher.iter(|| Filter::parse(black_box(Some(text)), FIELDS));
    });
}

criterion_group!(benches, dispatch, filter);
criterion_main!(benches);
