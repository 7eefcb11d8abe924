//! How fast documents are imported into SQLite, and the most memory the import holds.
//!
//! usage: `import quick|full REDIS_URL FOLDER`; prints `part,name,value,unit` lines.

use std::{
    env,
    error::Error,
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use larder_bench::{contender::larder_binary, documents};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let full = arguments.first().is_some_and(|mode| mode == "full");
    let folder = Path::new(arguments.get(2).ok_or("a folder is missing")?).join("import");
    fs::create_dir_all(&folder)?;
    // The second file is four times as long: memory that grows with the file would show.
    for count in if full { [250_000, 1_000_000] } else { [25_000, 100_000] } {
        let (seconds, bytes) = one_import(&folder, count)?;
        let rate = count as f64 / seconds;
        println!("import,{count} documents of 1 KB into SQLite (target ≥ 50000),{rate:.0},documents/s");
        println!("import,{count} documents: most memory held,{:.1},MiB", bytes as f64 / f64::from(1 << 20));
    }
    Ok(())
}

/// Seconds and the most resident memory of one import into an empty database.
fn one_import(folder: &Path, count: usize) -> Result<(f64, u64), Box<dyn Error>> {
    let (input, config, data) =
        (folder.join("input.ndjson"), folder.join("larder.toml"), folder.join("data"));
    let mut file = BufWriter::new(File::create(&input)?);
    for at in 0..count {
        // The id is the only part that differs between documents of the same number.
        let text = documents::json(at % documents::COUNT);
        writeln!(file, "{{\"_id\":\"{at:08}\"{}", &text[text.find(',').ok_or("a document has fields")?..])?;
    }
    file.flush()?;
    fs::write(&config, documents::configuration("127.0.0.1:0", &data, ""))?;
    let mut import = Command::new(larder_binary());
    import.arg("--config").arg(&config).args(["import", "products"]).arg(&input);
    let began = Instant::now();
    let mut child = import.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut most = 0;
    let status = loop {
        most = most.max(larder_bench::process::resident_bytes(&child.id().to_string()).unwrap_or(0));
        match child.try_wait()? {
            Some(status) => break status,
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    fs::remove_dir_all(&data)?;
    fs::remove_file(&input)?;
    if !status.success() {
        return Err(format!("larder import: {status}").into());
    }
    Ok((seconds, most))
}
