/// Whether tests that take minutes run: they do in `script/test --full`, and are skipped with a
/// notice otherwise. Each of them begins with
///
/// ```
/// # fn test() {
/// if !diesel_advisory_sandbox::is_full_run() {
///     return;
/// }
/// # }
/// ```
#[must_use]
pub fn is_full_run() -> bool {
    const VARIABLE: &str = "DIESEL_ADVISORY_FULL_RUN";

    let is_full_run = std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty());
    if !is_full_run {
        eprintln!("notice: {VARIABLE} is not set, so this is not tried");
    }
    is_full_run
}
