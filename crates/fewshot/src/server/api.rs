//! The JSON API.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::state::Shared;
use crate::{Error, Extracted, extract_one};

type Api = State<Arc<Shared>>;
type Answered = Result<Json<Value>, Failure>;

/// What a request is told that cannot be answered.
pub struct Failure(StatusCode, String);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::Broken { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Error::Album { .. } => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

#[derive(Deserialize)]
pub struct Named {
    /// What a person calls the photo.
    #[serde(default)]
    name: String,
}

impl Named {
    fn name(self) -> String {
        // The last part, whatever system the name is of; it is never a path here.
        let name = self.name.rsplit(['/', '\\']).next().unwrap_or_default();
        let name: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
        if name.is_empty() { "photo".to_owned() } else { name }
    }
}

/// `GET /api/album`: classes, photos, whether there are changes.
pub async fn album(State(shared): Api) -> Json<Value> {
    let state = shared.lock();
    let album = &state.album;
    let classes: Vec<Value> = album
        .classes
        .iter()
        .enumerate()
        .map(|(label, name)| {
            let photos = album.supports.iter().filter(|support| support.label == label);
            let photos: Vec<Value> = photos
                .map(|support| json!({"id": support.extracted.sha256, "name": support.name}))
                .collect();
            json!({"name": name, "photos": photos})
        })
        .collect();
    Json(json!({
        "classes": classes,
        "head": album.head().name(),
        "left_out": album.left_out().summary(),
        "changed": state.is_changed(),
        "can_undo": state.can_undo(),
        "version": state.version,
        "file": shared.path.file_name().map(|name| name.to_string_lossy().into_owned()),
    }))
}

/// Decodes a photo and extracts its feature, on a thread for that.
async fn extracted(shared: &Arc<Shared>, name: &str, bytes: Bytes) -> Result<Extracted, Failure> {
    let busy = |e: &dyn std::fmt::Display| Failure(StatusCode::SERVICE_UNAVAILABLE, e.to_string());
    let _permit = shared.decoding.acquire().await.map_err(|e| busy(&e))?;
    let (shared, name) = (Arc::clone(shared), name.to_owned());
    let work = move || extract_one(&shared.network, &name, bytes.to_vec());
    Ok(tokio::task::spawn_blocking(work).await.map_err(|e| busy(&e))??)
}

/// `POST /api/predict?name=…` with a photo: its classes by probability, and the nearest photo.
pub async fn predict(State(shared): Api, Query(named): Query<Named>, bytes: Bytes) -> Answered {
    let name = named.name();
    let extracted = extracted(&shared, &name, bytes).await?;
    let state = shared.lock();
    let album = &state.album;
    let answer = album.answer(&extracted.feature);
    let classes = answer.classes.iter().take(5);
    let classes: Vec<Value> = classes
        .map(|(class, p)| json!({"class": album.classes[*class], "probability": p}))
        .collect();
    let nearest = album.supports.get(answer.nearest.0).map(|support| {
        json!({"id": support.extracted.sha256, "name": support.name,
            "class": album.classes[support.label], "similarity": answer.nearest.1})
    });
    Ok(Json(json!({
        "id": extracted.sha256,
        "name": name,
        "label": if answer.is_unknown { Value::Null } else { json!(album.classes[answer.class()]) },
        "unknown": answer.is_unknown,
        "classes": classes,
        "similarity": answer.similarity,
        "nearest": nearest,
        "version": state.version,
    })))
}

/// `POST /api/classes/{class}/photos?name=…` with a photo: adds it to a class, which may be new, and
/// learns it at once.
pub async fn add(
    State(shared): Api,
    Path(class): Path<String>,
    Query(named): Query<Named>,
    bytes: Bytes,
) -> Answered {
    let class = class.trim().to_owned();
    if class.is_empty() || class.chars().count() > 200 || class.chars().any(char::is_control) {
        let reason = "a class's name has 1 to 200 characters, and no line breaks";
        return Err(Failure(StatusCode::BAD_REQUEST, reason.to_owned()));
    }
    let name = named.name();
    let extracted = extracted(&shared, &name, bytes).await?;
    changed(shared, move |shared| {
        let name = format!("{class}/{name}");
        shared.lock().change(|album| album.add_one(&class, &name, extracted).map(drop))
    })
    .await
}

/// `DELETE /api/photos/{id}`: takes a photo out.
pub async fn remove(State(shared): Api, Path(sha256): Path<String>) -> Answered {
    changed(shared, move |shared| shared.lock().change(|album| album.remove(&sha256))).await
}

/// `POST /api/undo`: takes the last change back.
pub async fn undo(State(shared): Api) -> Answered {
    changed(shared, |shared| {
        shared.lock().undo();
        Ok(())
    })
    .await
}

/// `POST /api/save`: writes the file.
pub async fn save(State(shared): Api) -> Answered {
    changed(shared, |shared| shared.save().map(drop)).await
}

/// Learns on a thread for that, and answers with the album.
async fn changed(
    shared: Arc<Shared>,
    change: impl FnOnce(&Shared) -> Result<(), Error> + Send + 'static,
) -> Answered {
    let work = {
        let shared = Arc::clone(&shared);
        move || change(&shared)
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Failure(StatusCode::SERVICE_UNAVAILABLE, e.to_string()))??;
    Ok(album(State(shared)).await)
}

/// `GET /api/photos/{id}/thumbnail`: a small JPEG.
pub async fn thumbnail(State(shared): Api, Path(sha256): Path<String>) -> Response {
    let state = shared.lock();
    let support = state.album.supports.iter().find(|s| s.extracted.sha256 == sha256);
    match support {
        Some(support) => {
            let jpeg = support.extracted.thumbnail.clone();
            ([(header::CONTENT_TYPE, "image/jpeg")], jpeg).into_response()
        }
        None => Failure(StatusCode::NOT_FOUND, "no such photo".to_owned()).into_response(),
    }
}
