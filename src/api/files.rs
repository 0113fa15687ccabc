//! Files by their signed addresses. The address is the right: no token, and no family of its own.

use futures_util::{StreamExt as _, stream};

use crate::{
    domain::error::Result,
    http::{Cx, Seg, ranges::Requested, reply::File},
    operations,
};

operations! {
    base "";
    /// A file by its signed address. Answers ranges and entity tags; the address works for a short time.
    GET "/files/{token}" => 200 download_file(Seg<String>) -> File, None [root, keyless], fails NotFound | LinkExpired;
}

async fn download_file(cx: &Cx, Seg(token): Seg<String>) -> Result<File> {
    let found = cx.services.attachments.resolve(&token).await?;
    let part = cx.request.wanted_part(found.size, &found.etag)?;
    let store = &cx.services.attachments.files().store;
    let bytes = match &part {
        Requested::Unchanged => stream::empty().boxed(),
        Requested::Whole => store.get(&found.path, None).await?,
        Requested::Part(range) => store.get(&found.path, Some(range.clone())).await?,
    };
    Ok(File {
        name: found.name,
        media_type: found.media_type,
        size: found.size,
        etag: found.etag,
        part,
        bytes,
    })
}
