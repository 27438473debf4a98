//! A job that waits for a lock, and one that does not, as traces on the standard output, and how long the lock was
//! waited for and held, as histograms.
//!
//! `cargo run -p trace` uses a throwaway PostgreSQL, or the server of `DATABASE_URL`.

mod histograms;

use std::error::Error;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_query;
use diesel_advisory::AdvisoryConnection;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;

use crate::histograms::LockHistograms;

const LOCK: &str = "billing.close_month";

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let url = diesel_advisory_sandbox::database_url();
    let resource = Resource::builder().with_service_name("billing").build();
    let traces = SdkTracerProvider::builder()
        .with_simple_exporter(opentelemetry_stdout::SpanExporter::default())
        .with_resource(resource.clone())
        .build();
    let metrics = SdkMeterProvider::builder()
        .with_periodic_exporter(opentelemetry_stdout::MetricExporter::default())
        .with_resource(resource)
        .build();
    tracing::subscriber::set_global_default(
        tracing_subscriber::registry()
            .with(tracing_opentelemetry::layer().with_tracer(traces.tracer("billing")))
            .with(LockHistograms::new(&metrics.meter("billing"))),
    )?;
    // A wait of more than that is a warning.
    diesel_advisory::trace::warn_above(Duration::from_millis(200));

    work(&url)?;
    traces.shutdown()?;
    metrics.shutdown()?;
    Ok(())
}

fn work(url: &str) -> Result<()> {
    let (holds, is_held) = mpsc::channel();
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            close_month(url, "web-1", || {
                holds.send(())?;
                thread::sleep(Duration::from_millis(300));
                Ok(())
            })
        });
        // The first one has it by now.
        is_held.recv()?;
        skip(url, "web-2")?;
        close_month(url, "web-3", || Ok(()))?;
        first.join().expect("it returns an error instead")
    })
}

/// One trace: the job, in it the lock, and in that what is done under it.
fn close_month(url: &str, who: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let _job = tracing::info_span!("close_month", who).entered();
    let mut conn = connect(url, who)?;
    conn.advisory(LOCK).run(|conn| {
        tracing::info_span!("sum_invoices")
            .in_scope(|| sql_query("SELECT pg_catalog.pg_sleep(0.02)").execute(conn))?;
        tracing::info_span!("write_report").in_scope(work)
    })
}

/// Does not wait. Its trace says who has the lock.
fn skip(url: &str, who: &str) -> Result<()> {
    let _job = tracing::info_span!("close_month", who).entered();
    let mut conn = connect(url, who)?;
    match conn.advisory(LOCK).no_wait().run(|_| Ok(())) {
        Err(diesel_advisory::Error::Unavailable(_)) => Ok(()),
        other => Ok(other?),
    }
}

fn connect(url: &str, who: &str) -> Result<PgConnection> {
    let mut conn = PgConnection::establish(url)?;
    sql_query(format!("SET application_name = '{who}'")).execute(&mut conn)?;
    Ok(conn)
}
