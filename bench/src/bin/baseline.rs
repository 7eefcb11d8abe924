//! The floor: axum with a fixed answer, or with one bare Redis GET.
//!
//! usage: `baseline near|shared PORT [REDIS_URL]`

use std::{env, error::Error};

use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use larder_bench::documents;
use redis::{AsyncCommands, aio::ConnectionManager};

/// The server's: the floor is to differ from it in what it does, not in where its memory comes from.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [mode, port, rest @ ..] = arguments.as_slice() else {
        return Err("usage: baseline near|shared PORT [REDIS_URL]".into());
    };
    let app = match mode.as_str() {
        "near" => {
            let body = Bytes::from(documents::json(0));
            Router::new().route("/v1/products/{id}", get(move || fixed(body.clone())))
        }
        _ => {
            let client = redis::Client::open(rest.first().ok_or("a Redis URL is missing")?.as_str())?;
            let mut connection = client.get_connection_manager().await?;
            for index in 0..documents::COUNT {
                let _: () = connection.set(format!("bare:p{index:04}"), documents::json(index)).await?;
            }
            Router::new().route("/v1/products/{id}", get(bare_get)).with_state(connection)
        }
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    Ok(axum::serve(listener, app).await?)
}

async fn fixed(body: Bytes) -> Response {
    answer(body)
}

async fn bare_get(State(mut redis): State<ConnectionManager>, Path(id): Path<String>) -> Response {
    match redis.get::<_, Option<Bytes>>(format!("bare:{id}")).await {
        Ok(Some(body)) => answer(body),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

fn answer(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], body).into_response()
}
