//! Short lists to make posts of. What comes first in lists of categories and countries comes more often.

/// Categories, each with things to post about.
pub(super) const CATEGORIES: [(&str, [&str; 6]); 14] = [
    (
        "home-decor",
        [
            "shelves",
            "curtains",
            "a hallway",
            "lamps",
            "small rooms",
            "rugs",
        ],
    ),
    (
        "travel",
        [
            "Lisbon",
            "the Alps",
            "night trains",
            "islands",
            "Kyoto",
            "road trips",
        ],
    ),
    (
        "food",
        [
            "bread", "noodles", "soups", "picnics", "pickles", "pancakes",
        ],
    ),
    (
        "diy-and-crafts",
        [
            "candles",
            "paper flowers",
            "knitting",
            "origami",
            "pottery",
            "soap",
        ],
    ),
    (
        "art",
        [
            "watercolours",
            "etchings",
            "murals",
            "still lifes",
            "portraits",
            "linocuts",
        ],
    ),
    (
        "mens-fashion",
        ["coats", "boots", "linen shirts", "ties", "denim", "hats"],
    ),
    (
        "beauty",
        [
            "nail art",
            "braids",
            "face masks",
            "short hair",
            "lipsticks",
            "brows",
        ],
    ),
    (
        "quotes",
        [
            "patience", "mondays", "friends", "courage", "coffee", "rain",
        ],
    ),
    (
        "christmas",
        [
            "wreaths",
            "cookies",
            "advent",
            "gift wrap",
            "stars",
            "cards",
        ],
    ),
    (
        "tattoos",
        [
            "swallows",
            "mandalas",
            "fine lines",
            "roses",
            "lettering",
            "waves",
        ],
    ),
    (
        "finance",
        [
            "budgets",
            "saving",
            "pensions",
            "side jobs",
            "receipts",
            "taxes",
        ],
    ),
    (
        "education",
        [
            "fractions",
            "maps",
            "spelling",
            "experiments",
            "planners",
            "puzzles",
        ],
    ),
    (
        "vehicles",
        [
            "vans",
            "bicycles",
            "old trucks",
            "trams",
            "motorbikes",
            "boats",
        ],
    ),
    (
        "event-planning",
        [
            "seating",
            "invitations",
            "garden parties",
            "menus",
            "balloons",
            "music",
        ],
    ),
];

/// Countries, each with whole degrees of latitude and longitude near its middle.
pub(super) const COUNTRIES: [(&str, i32, i32); 20] = [
    ("United States", 39, -98),
    ("Brazil", -10, -55),
    ("Germany", 51, 10),
    ("France", 46, 2),
    ("India", 22, 79),
    ("United Kingdom", 54, -2),
    ("Mexico", 23, -102),
    ("Spain", 40, -4),
    ("Canada", 56, -106),
    ("Italy", 42, 13),
    ("Japan", 36, 138),
    ("Poland", 52, 19),
    ("Argentina", -34, -64),
    ("Portugal", 39, -8),
    ("Kenya", 0, 38),
    ("Albania", 41, 20),
    ("New Zealand", -42, 173),
    ("Norway", 62, 10),
    ("Viet Nam", 16, 107),
    ("Iceland", 65, -18),
];

pub(super) const FIRST_NAMES: [&str; 20] = [
    "Abigail", "Ben", "Chioma", "Dora", "Emil", "Fatima", "George", "Hana", "Ines", "Jack",
    "Kavya", "Liam", "Maya", "Noah", "Olga", "Pedro", "Rosa", "Sam", "Tomás", "Wei",
];

pub(super) const LAST_NAMES: [&str; 20] = [
    "Ali", "Berg", "Chen", "Diaz", "Evans", "Ferrari", "Gupta", "Hughes", "Ivanova", "Jansen",
    "Kowalski", "Lopes", "Moreau", "Nakamura", "Okafor", "Park", "Rossi", "Silva", "Tanaka",
    "Wright",
];

pub(super) const ADJECTIVES: [&str; 16] = [
    "simple", "cosy", "modern", "cheap", "rustic", "bright", "quick", "vintage", "quiet", "bold",
    "tiny", "handmade", "green", "warm", "easy", "classic",
];

pub(super) const TITLES: [&str; 8] = [
    "14 {adjective} ideas with {thing}",
    "{thing} that look {adjective}",
    "How to begin with {thing}",
    "The most {adjective} {thing} of the year",
    "{adjective} {thing}, step by step",
    "Before and after: {thing}",
    "What nobody tells you about {thing}",
    "A {adjective} weekend with {thing}",
];
