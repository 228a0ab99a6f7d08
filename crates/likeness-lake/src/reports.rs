//! Named queries over pins, geolocations and users.
//!
//! They are queries of the latest versions, joined by `ind`. What is null is not counted; of what is equal the first by name
//! counts; rows are in the order of their first column. A pin's time and country are those of its geolocation, a pin's age group
//! and joining year those of its user.

use likeness_core::query::Report;

/// All of them.
pub(crate) static REPORTS: &[Report] = &[
    Report {
        name: "top-category-by-year",
        about: "The category with most pins in each year",
        sql: include_str!("reports/top-category-by-year.sql"),
        label: 0,
        value: 2,
    },
    Report {
        name: "top-category-by-country",
        about: "The category with most pins in each country",
        sql: include_str!("reports/top-category-by-country.sql"),
        label: 0,
        value: 2,
    },
    Report {
        name: "top-user-by-country",
        about: "The profile with most followers in each country",
        sql: include_str!("reports/top-user-by-country.sql"),
        label: 1,
        value: 2,
    },
    Report {
        name: "top-category-by-age-group",
        about: "The category with most pins in each age group",
        sql: include_str!("reports/top-category-by-age-group.sql"),
        label: 0,
        value: 2,
    },
    Report {
        name: "median-followers-by-age-group",
        about: "The median of followers in each age group",
        sql: include_str!("reports/median-followers-by-age-group.sql"),
        label: 0,
        value: 1,
    },
    Report {
        name: "median-followers-by-joining-year",
        about: "The median of followers of those who joined in each year",
        sql: include_str!("reports/median-followers-by-joining-year.sql"),
        label: 0,
        value: 1,
    },
    Report {
        name: "users-joined-by-year",
        about: "How many users joined in each year",
        sql: include_str!("reports/users-joined-by-year.sql"),
        label: 0,
        value: 1,
    },
];
