//! The workshops that supply the shop, by trade. None of them exists.

/// A maker and its country (ISO 3166 code).
pub(in crate::sample) struct Maker {
    pub(in crate::sample) name: &'static str,
    pub(in crate::sample) country: &'static str,
}

const fn maker(name: &'static str, country: &'static str) -> Maker {
    Maker { name, country }
}

/// Forges, foundries and engine rooms.
pub(super) const SMITHS: &[Maker] = &[
    maker("Fenwright & Daughters", "GB"),
    maker("Tolgarrick Forge", "GB"),
    maker("Pellworthy Tinsmiths", "GB"),
    maker("Coutellerie Bressac", "FR"),
    maker("Hufnagel & Brandt", "DE"),
    maker("Solvach Klingen", "DE"),
    maker("Steinbacher Emaille", "AT"),
    maker("Fonderia Castelvò", "IT"),
    maker("Nordhavn Køkken", "DK"),
    maker("Sundvik Emalj", "SE"),
    maker("Haukadal Gryter", "NO"),
    maker("Tsukimori Hamono", "JP"),
    maker("Kapitari Kitchenware", "NZ"),
    maker("Calloway Iron", "US"),
];

/// Kilns and glassworks.
pub(super) const POTTERS: &[Maker] = &[
    maker("Ottershaw Pottery", "GB"),
    maker("Ballinure Stoneware", "IE"),
    maker("Atelier Morvanne", "FR"),
    maker("Ceramiche Torrealba", "IT"),
    maker("Alfarería Los Molares", "ES"),
    maker("Cerâmica Vilarinha", "PT"),
    maker("Aokuma Kiln", "JP"),
];

/// Wood, cork and cloth.
pub(super) const WORKSHOPS: &[Maker] = &[
    maker("Werkhof Lindental", "DE"),
    maker("Cortiça do Sado", "PT"),
    maker("Bjerregaard Træ", "DK"),
    maker("Kvarnby Linneväveri", "SE"),
    maker("Lumipuro Oy", "FI"),
    maker("Maison Tervigne", "FR"),
];

/// Leaf, bean and spice.
pub(super) const GROWERS: &[Maker] = &[
    maker("Especias Valdoro", "ES"),
    maker("Hoshigawa Tea", "JP"),
    maker("Malabari Spice House", "IN"),
    maker("Nilgarh Estates", "IN"),
    maker("Finca Altoverde", "CO"),
    maker("Cafetal San Brino", "GT"),
    maker("Yirgalem Growers", "ET"),
];

/// Mills, presses and jam pans.
pub(super) const KITCHENS: &[Maker] = &[
    maker("Low Mill Provisions", "GB"),
    maker("Hartsop Dairy Works", "GB"),
    maker("Kilcorran Preserves", "IE"),
    maker("Moulin de Sarlaye", "FR"),
    maker("Confiturerie Aubrenne", "FR"),
    maker("Kornmühle Adelsried", "DE"),
    maker("Rauhenegg Honig", "AT"),
    maker("Pastificio Orsanti", "IT"),
    maker("Frantoio Belcampo", "IT"),
    maker("Acetaia Monreggio", "IT"),
    maker("Almazara Peñarrubí", "ES"),
    maker("Suryavan Mills", "IN"),
    maker("Bellbird Pantry", "AU"),
    maker("Three Pines Cannery", "CA"),
];
