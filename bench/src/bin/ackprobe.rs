use std::time::{Duration, Instant};
use larder::{Cache, Result as R, cache::WriteBehind, redis::Redis, source::{Sink, Write}};
#[derive(Clone)]
struct No;
impl Sink<String, String> for No {
    async fn put(&self, _: &String, _: &String) -> R<()> { Ok(()) }
    async fn remove(&self, _: &String) -> R<()> { Ok(()) }
    async fn apply(&self, w: &[Write<String, String>]) -> Vec<R<()>> { w.iter().map(|_| Ok(())).collect() }
}
fn p(name: &str, v: &mut Vec<f64>) { v.sort_by(f64::total_cmp); println!("{name}: p50 {:.1} p90 {:.1}", v[v.len() / 2], v[v.len() * 9 / 10]); }
#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).unwrap();
    let redis = Redis::connect(url.as_str()).await.unwrap();
    let cache: Cache<String, String> = Cache::builder("ackprobe").redis(&redis).sink(No).write_behind(WriteBehind::default()).build().unwrap();
    let plain: Cache<String, String> = Cache::builder("ackplain").redis(&redis).build().unwrap();
    let (mut a, mut b, mut c) = (vec![], vec![], vec![]);
    for n in 0..4000u64 {
        let key = format!("row-{}", n % 2000);
        let value = "x".repeat(std::env::var("SIZE").map_or(1000, |s| s.parse().unwrap()));
        tokio::time::sleep(Duration::from_micros(900)).await;
        let t = Instant::now(); redis.ping().await.unwrap(); let x = t.elapsed();
        let t = Instant::now(); cache.put(&key, &value).await.unwrap(); let y = t.elapsed();
        let t = Instant::now(); plain.invalidate(&key).await.unwrap(); let z = t.elapsed();
        if n > 400 { a.push(x.as_secs_f64() * 1e6); b.push(y.as_secs_f64() * 1e6); c.push(z.as_secs_f64() * 1e6); }
    }
    p("ping", &mut a); p("put", &mut b); p("invalidate", &mut c);
    println!("ratio {:.2}", b[b.len() / 2] / a[a.len() / 2]);
}
