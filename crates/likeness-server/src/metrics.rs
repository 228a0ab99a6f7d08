use metrics::{Unit, describe_counter, describe_histogram};

/// Requests answered, by `route` (the pattern, never the path), `method` and `status`.
pub const HTTP_REQUESTS_TOTAL: &str = "likeness_http_requests_total";
/// Seconds from a request's head to its answer's head, by `route` and `method`.
pub const HTTP_REQUEST_DURATION_SECONDS: &str = "likeness_http_request_duration_seconds";
/// Connections and requests refused because a bound was met, by `bound`.
pub const HTTP_SHED_TOTAL: &str = "likeness_http_shed_total";

/// Tells the installed recorder what the metrics of this crate mean.
pub fn describe_metrics() {
    describe_counter!(HTTP_REQUESTS_TOTAL, Unit::Count, "HTTP requests answered");
    describe_histogram!(
        HTTP_REQUEST_DURATION_SECONDS,
        Unit::Seconds,
        "time from a request's head to its answer's head"
    );
    describe_counter!(
        HTTP_SHED_TOTAL,
        Unit::Count,
        "connections and requests refused because a bound was met"
    );
}
