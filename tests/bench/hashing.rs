//! The reference for logins: bare argon2id, on as many threads as there are cores, with memory blocks that are used
//! again.

use std::hint::black_box;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::Result;

/// Hashes for a while and prints how many a second.
#[derive(clap::Args)]
pub(crate) struct HashingArgs {
    #[command(flatten)]
    cost: Cost,
    #[arg(long)]
    seconds: f64,
}

/// The cost of a hash; the defaults are the server's.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Cost {
    #[arg(long, default_value_t = Self::DEFAULT.memory_kib)]
    pub(crate) memory_kib: u32,
    #[arg(long, default_value_t = Self::DEFAULT.iterations)]
    pub(crate) iterations: u32,
}

impl Cost {
    pub(crate) const DEFAULT: Self = Self { memory_kib: 19_456, iterations: 2 };
    /// As little as argon2 allows.
    pub(crate) const LEAST: Self = Self { memory_kib: 8, iterations: 1 };
}

pub(crate) fn run(args: &HashingArgs) -> Result<()> {
    let params = Params::new(args.cost.memory_kib, args.cost.iterations, 1, Some(32)).map_err(|e| e.to_string())?;
    let threads = std::thread::available_parallelism()?.get();
    let length = Duration::from_secs_f64(args.seconds);
    let per_second: f64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| hash_for(length, &params))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(0.0)).sum()
    });
    println!("{per_second}");
    Ok(())
}

/// Whole hashes a second of one thread.
fn hash_for(length: Duration, params: &Params) -> f64 {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let mut memory = vec![Block::default(); params.block_count()];
    let mut output = [0; 32];
    let start = Instant::now();
    let mut hashes = 0_u32;
    while start.elapsed() < length {
        argon2
            .hash_password_into_with_memory(b"correct horse battery", &[7; 16], &mut output, &mut memory)
            .expect("the parameters were checked");
        black_box(&output);
        hashes += 1;
    }
    f64::from(hashes) / start.elapsed().as_secs_f64()
}
