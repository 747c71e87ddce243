//! Who buys in the examples, what, and in which currency.

/// What a shop sells, with the price of one in cents of a euro or a dollar.
pub(crate) const ARTICLES: [(&str, u32); 24] = [
    ("TEA-ASSAM-250", 890),
    ("TEA-SENCHA-100", 1_250),
    ("TEA-ROOIBOS-250", 690),
    ("TEA-MINT-100", 450),
    ("COFFEE-FILTER-1000", 1_890),
    ("COFFEE-ESPRESSO-500", 1_199),
    ("COFFEE-DECAF-250", 749),
    ("CUP-PORCELAIN-WHITE", 1_450),
    ("CUP-STONEWARE-BLUE", 1_690),
    ("CUP-TRAVEL-350", 2_499),
    ("POT-GLASS-1200", 3_990),
    ("POT-CAST-IRON-800", 6_450),
    ("KETTLE-GOOSENECK", 8_900),
    ("GRINDER-HAND", 5_499),
    ("GRINDER-ELECTRIC", 14_900),
    ("SCALE-POCKET", 2_990),
    ("FILTER-PAPER-100", 399),
    ("WHISK-BAMBOO", 1_290),
    ("HONEY-HEATHER-500", 990),
    ("BISCUIT-OAT-300", 425),
    ("BISCUIT-GINGER-300", 475),
    ("CHOCOLATE-DARK-85", 349),
    ("GIFT-BOX-SMALL", 2_950),
    ("GIFT-BOX-LARGE", 5_950),
];

/// Buyers: a name, and what stands before the `@`. They are made up.
pub(crate) const BUYERS: [(&str, &str); 20] = [
    ("Alice Alder", "alice.alder"),
    ("Bob Birch", "bob.birch"),
    ("Carol Cedar", "carol.cedar"),
    ("Dan Dogwood", "dan.dogwood"),
    ("Erin Elm", "erin.elm"),
    ("Frank Fir", "frank.fir"),
    ("Grace Ginkgo", "grace.ginkgo"),
    ("Heidi Hazel", "heidi.hazel"),
    ("Ivan Ironwood", "ivan.ironwood"),
    ("Judy Juniper", "judy.juniper"),
    ("Kofi Kapok", "kofi.kapok"),
    ("Leila Larch", "leila.larch"),
    ("Mei Maple", "mei.maple"),
    ("Nils Nutmeg", "nils.nutmeg"),
    ("Olga Oak", "olga.oak"),
    ("Paulo Pine", "paulo.pine"),
    ("Quinn Quince", "quinn.quince"),
    ("Renée Rowan", "renee.rowan"),
    ("Søren Spruce", "soren.spruce"),
    ("Yuki Yew", "yuki.yew"),
];

/// Their domains, which RFC 2606 reserves for examples.
pub(crate) const DOMAINS: [&str; 4] = [
    "example.com",
    "example.net",
    "example.org",
    "bücher.example",
];

/// A currency, how much of it a euro or a dollar is, and its smallest unit in cents.
pub(crate) struct Currency {
    pub(crate) code: &'static str,
    pub(crate) rate: u32,
    pub(crate) unit: u32,
}

const EUR: Currency = Currency {
    code: "EUR",
    rate: 1,
    unit: 1,
};
const USD: Currency = Currency {
    code: "USD",
    rate: 1,
    unit: 1,
};
const GBP: Currency = Currency {
    code: "GBP",
    rate: 1,
    unit: 1,
};
const CHF: Currency = Currency {
    code: "CHF",
    rate: 1,
    unit: 5,
};
const SEK: Currency = Currency {
    code: "SEK",
    rate: 11,
    unit: 100,
};
const JPY: Currency = Currency {
    code: "JPY",
    rate: 160,
    unit: 1_000,
};

/// In which currencies a tenant sells: the first one mostly. The tenants after the third begin anew.
pub(crate) const CURRENCIES: [[Currency; 2]; 3] = [[EUR, CHF], [USD, GBP], [JPY, SEK]];

/// Where orders come from.
pub(crate) const CHANNELS: [&str; 4] = ["web", "app", "phone", "shop"];
