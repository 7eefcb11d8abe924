//! The documents every contender serves: a thousand products of one kilobyte, the same bytes for all.

use std::{fs, io, path::Path};

/// How many documents there are; the client asks for them in turn.
pub const COUNT: usize = 1_000;

/// The path of one document, the same at every contender.
pub fn path(index: usize) -> String {
    format!("/v1/products/p{index:04}")
}

/// One document as compact JSON, 1,024 bytes long.
pub fn json(index: usize) -> String {
    let head = format!(
        "{{\"_id\":\"p{index:04}\",\"name\":\"Walnut serving board {index}\",\"price\":{}.5,\"stock\":{},\
         \"category\":\"kitchen\",\"tags\":[\"wood\",\"handmade\",\"gift\"],\"maker\":{{\"name\":\"Orchard & Sons\",\
         \"city\":\"Freiburg\",\"since\":1952}},\"rating\":4.5,\"text\":\"",
        20 + index % 70,
        index % 400
    );
    let words = "Cut from one plank, oiled by hand, and fit for bread, cheese and everything between. ";
    let text: String = words.chars().cycle().take(1_024 - head.len() - 2).collect();
    format!("{head}{text}\"}}")
}

/// Writes all documents, one a line.
///
/// # Errors
/// When the file cannot be written.
pub fn write(file: &Path) -> io::Result<()> {
    fs::write(file, (0..COUNT).map(|index| json(index) + "\n").collect::<String>())
}

/// A configuration that serves the documents as the collection `products`.
pub fn configuration(listen: &str, data: &Path, settings: &str) -> String {
    format!(
        "listen = \"{listen}\"\ndata_dir = \"{}\"\n{settings}\
         [auth]\nopen = true\n\
         [[collection]]\nname = \"products\"\nid = \"string\"\nstrict = false\n\
         [[collection.field]]\npath = \"name\"\ntype = \"string\"\n",
        data.display()
    )
}
