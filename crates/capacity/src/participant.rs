//! Who reports: the participants of the Kimberley Process and the names under which its tables list them.

/// A participant of the certification scheme, past or present: a state, or the European Union.
#[derive(Debug, PartialEq, Eq)]
pub struct Participant {
    /// Three letters of ISO 3166-1; `EUU` for the European Union, which has none of its own.
    pub code: &'static str,
    /// The name in English.
    pub name: &'static str,
    /// Other names in English, French, Portuguese and Spanish.
    pub other_names: &'static [&'static str],
}

impl Participant {
    /// The participant of a code, such as `CIV`.
    #[must_use]
    pub fn of_code(code: &str) -> Option<&'static Self> {
        PARTICIPANTS
            .iter()
            .find(|participant| participant.code == code)
    }

    /// The participant of a code or a name in any of the languages; accents, case, punctuation and spaces do not count.
    ///
    /// `Congo` alone is nobody: there are two.
    #[must_use]
    pub fn find(text: &str) -> Option<&'static Self> {
        let wanted = key(text);
        PARTICIPANTS.iter().find(|participant| {
            participant
                .all_names()
                .any(|name| key(name) == wanted && !wanted.is_empty())
        })
    }

    /// The name that a text is nearest to, if it is near any: at most a third of its letters differ.
    #[must_use]
    pub fn nearest(text: &str) -> Option<(&'static Self, &'static str)> {
        let wanted = key(text);
        let most = wanted.len() / 3;
        PARTICIPANTS
            .iter()
            .flat_map(|participant| participant.all_names().map(move |name| (participant, name)))
            .map(|(participant, name)| (distance(&wanted, &key(name)), participant, name))
            .filter(|(distance, ..)| *distance <= most)
            .min_by_key(|(distance, ..)| *distance)
            .map(|(_, participant, name)| (participant, name))
    }

    fn all_names(&self) -> impl Iterator<Item = &'static str> {
        [self.code, self.name]
            .into_iter()
            .chain(self.other_names.iter().copied())
    }
}

/// Lower case without accents; everything else stays.
#[must_use]
pub fn without_accents(text: &str) -> String {
    text.chars()
        .flat_map(char::to_lowercase)
        .filter(|letter| !('\u{300}'..='\u{36f}').contains(letter))
        .map(|letter| match letter {
            'à'..='å' => 'a',
            'ç' => 'c',
            'è'..='ë' => 'e',
            'ì'..='ï' => 'i',
            'ñ' => 'n',
            'ò'..='ö' => 'o',
            'ù'..='ü' => 'u',
            'ý' | 'ÿ' => 'y',
            '’' | '‘' | '`' | '´' => '\'',
            other => other,
        })
        .collect()
}

/// What is left of a name when only its letters and digits count.
fn key(text: &str) -> String {
    without_accents(text)
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect()
}

/// Letters to insert, remove or replace until both are the same (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, right) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

/// The names are those of Unicode CLDR 49 (as Babel 2.19.0 has them) in the four languages, and forms that tables of the scheme
/// use. Whom to list rests on a published list of 2003 and on general knowledge of later years; the table says whose name can be read, not who is a
/// participant on a given day.
#[rustfmt::skip]
static PARTICIPANTS: &[Participant] = &[
    Participant { code: "AGO", name: "Angola", other_names: &["República de Angola"] },
    Participant { code: "ARE", name: "United Arab Emirates", other_names: &["Émirats arabes unis", "Emirados Árabes Unidos", "Emiratos Árabes Unidos", "UAE", "EAU"] },
    Participant { code: "ARM", name: "Armenia", other_names: &["Arménie"] },
    Participant { code: "AUS", name: "Australia", other_names: &["Australie"] },
    Participant { code: "BGD", name: "Bangladesh", other_names: &["Bangladés", "Bangladeche"] },
    Participant { code: "BGR", name: "Bulgaria", other_names: &["Bulgarie"] },
    Participant { code: "BLR", name: "Belarus", other_names: &["Biélorussie", "Bielorrússia", "Bielorrusia"] },
    Participant { code: "BRA", name: "Brazil", other_names: &["Brésil", "Brasil"] },
    Participant { code: "BWA", name: "Botswana", other_names: &["Botsuana"] },
    Participant { code: "CAF", name: "Central African Republic", other_names: &["République centrafricaine", "República Centro-Africana", "CAR", "Central African Rep.", "Central African Republic (CAR)", "Centrafrique", "RCA"] },
    Participant { code: "CAN", name: "Canada", other_names: &[] },
    Participant { code: "CHE", name: "Switzerland", other_names: &["Suisse", "Suíça", "Suiza"] },
    Participant { code: "CHN", name: "China", other_names: &["Chine", "China, People's Republic of", "People's Republic of China", "China, P.R.", "República Popular China", "République populaire de Chine"] },
    Participant { code: "CIV", name: "Côte d'Ivoire", other_names: &["Costa do Marfim", "Côte d'Ivoire (Costa do Marfim)", "Ivory Coast", "Costa de Marfil"] },
    Participant { code: "CMR", name: "Cameroon", other_names: &["Cameroun", "Camarões", "Camerún"] },
    Participant { code: "COD", name: "Democratic Republic of the Congo", other_names: &["Congo - Kinshasa", "República Democrática del Congo", "Congo, Democratic Republic of", "Congo, Democratic Republic of the", "Congo, Dem. Rep.", "Congo, DR", "DR Congo", "DRC", "Democratic Republic of Congo", "RDC", "RD Congo", "RD du Congo", "République démocratique du Congo", "Congo, République démocratique du", "República Democrática do Congo"] },
    Participant { code: "COG", name: "Republic of the Congo", other_names: &["Congo - Brazzaville", "República do Congo", "Congo, Republic of", "Congo, Republic of the", "Congo, Rep.", "Republic of Congo", "Rep. of Congo", "République du Congo", "Congo, République du", "República del Congo"] },
    Participant { code: "CZE", name: "Czechia", other_names: &["Tchéquie", "Tchéquia", "Chequia", "Czech Republic", "République tchèque"] },
    Participant { code: "EUU", name: "European Union", other_names: &["Union européenne", "União Europeia", "Unión Europea", "European Community", "European Communities", "EU", "EC", "Communauté européenne", "UE", "CE", "Comunidade Europeia", "Comunidad Europea"] },
    Participant { code: "GAB", name: "Gabon", other_names: &["Gabão"] },
    Participant { code: "GBR", name: "United Kingdom", other_names: &["Royaume-Uni", "Reino Unido", "UK", "Great Britain"] },
    Participant { code: "GHA", name: "Ghana", other_names: &["Gana"] },
    Participant { code: "GIN", name: "Guinea", other_names: &["Guinée", "Guiné", "Republic of Guinea", "Guinea (Conakry)", "Guinée-Conakry", "Guiné-Conacri"] },
    Participant { code: "GUY", name: "Guyana", other_names: &["Guiana"] },
    Participant { code: "HRV", name: "Croatia", other_names: &["Croatie", "Croácia"] },
    Participant { code: "HUN", name: "Hungary", other_names: &["Hongrie", "Hungria"] },
    Participant { code: "IDN", name: "Indonesia", other_names: &["Indonésie"] },
    Participant { code: "IND", name: "India", other_names: &["Inde"] },
    Participant { code: "ISR", name: "Israel", other_names: &[] },
    Participant { code: "JPN", name: "Japan", other_names: &["Japon", "Japão"] },
    Participant { code: "KAZ", name: "Kazakhstan", other_names: &["Cazaquistão", "Kazajistán"] },
    Participant { code: "KGZ", name: "Kyrgyzstan", other_names: &["Kirghizstan", "Quirguistão", "Kirguistán", "Kyrgyz Republic"] },
    Participant { code: "KHM", name: "Cambodia", other_names: &["Cambodge", "Camboja", "Camboya"] },
    Participant { code: "KOR", name: "Republic of Korea", other_names: &["South Korea", "Corée du Sud", "Coreia do Sul", "Corea del Sur", "Korea, Republic of", "Korea", "Korea, Rep.", "République de Corée", "República da Coreia", "República de Corea"] },
    Participant { code: "LAO", name: "Laos", other_names: &["Lao PDR", "Lao People's Democratic Republic", "Lao, Democratic Republic of", "Lao, Democratic Republic", "RDP lao"] },
    Participant { code: "LBN", name: "Lebanon", other_names: &["Liban", "Líbano"] },
    Participant { code: "LBR", name: "Liberia", other_names: &[] },
    Participant { code: "LKA", name: "Sri Lanka", other_names: &["Sri Lanca"] },
    Participant { code: "LSO", name: "Lesotho", other_names: &["Lesoto", "Kingdom of Lesotho"] },
    Participant { code: "MEX", name: "Mexico", other_names: &["Mexique"] },
    Participant { code: "MLI", name: "Mali", other_names: &[] },
    Participant { code: "MLT", name: "Malta", other_names: &["Malte"] },
    Participant { code: "MNE", name: "Montenegro", other_names: &[] },
    Participant { code: "MOZ", name: "Mozambique", other_names: &["Moçambique"] },
    Participant { code: "MUS", name: "Mauritius", other_names: &["Maurice", "Maurício", "Maurícia"] },
    Participant { code: "MYS", name: "Malaysia", other_names: &["Malaisie", "Malásia"] },
    Participant { code: "NAM", name: "Namibia", other_names: &["Namibie"] },
    Participant { code: "NOR", name: "Norway", other_names: &["Norvège", "Noruega"] },
    Participant { code: "NZL", name: "New Zealand", other_names: &["Nouvelle-Zélande", "Nova Zelândia", "Nueva Zelanda"] },
    Participant { code: "PAN", name: "Panama", other_names: &[] },
    Participant { code: "POL", name: "Poland", other_names: &["Pologne", "Polônia"] },
    Participant { code: "QAT", name: "Qatar", other_names: &["Catar"] },
    Participant { code: "ROU", name: "Romania", other_names: &["Roumanie", "Romênia", "Rumanía"] },
    Participant { code: "RUS", name: "Russia", other_names: &["Russie", "Rusia", "Russian Federation", "Fédération de Russie", "Federação Russa", "Federación de Rusia"] },
    Participant { code: "SGP", name: "Singapore", other_names: &["Singapour", "Singapura", "Singapur"] },
    Participant { code: "SLE", name: "Sierra Leone", other_names: &["Serra Leoa", "Sierra Leona"] },
    Participant { code: "SVN", name: "Slovenia", other_names: &["Slovénie", "Eslovênia"] },
    Participant { code: "SWZ", name: "Eswatini", other_names: &["Essuatíni", "Esuatini", "Swaziland", "Suazilândia"] },
    Participant { code: "TGO", name: "Togo", other_names: &[] },
    Participant { code: "THA", name: "Thailand", other_names: &["Thaïlande", "Tailândia"] },
    Participant { code: "TUR", name: "Türkiye", other_names: &["Turquie", "Turquia", "Turkey"] },
    Participant { code: "TWN", name: "Chinese Taipei", other_names: &["Taiwan", "Taipei", "Taipei chinois"] },
    Participant { code: "TZA", name: "Tanzania", other_names: &["Tanzanie", "United Republic of Tanzania", "Tanzania, United Republic of", "Tanzanie, République-Unie de"] },
    Participant { code: "UKR", name: "Ukraine", other_names: &["Ucrânia"] },
    Participant { code: "USA", name: "United States", other_names: &["États-Unis", "Estados Unidos", "US", "United States of America", "Etats-Unis d'Amérique", "EUA", "EE.UU.", "Estados Unidos de América"] },
    Participant { code: "UZB", name: "Uzbekistan", other_names: &["Ouzbékistan", "Uzbequistão", "Usbequistão"] },
    Participant { code: "VEN", name: "Venezuela", other_names: &["Venezuela, Bolivarian Republic of", "Bolivarian Republic of Venezuela"] },
    Participant { code: "VNM", name: "Vietnam", other_names: &["Vietnã", "Vietname"] },
    Participant { code: "ZAF", name: "South Africa", other_names: &["Afrique du Sud", "África do Sul", "Sudáfrica", "Rep. of South Africa", "Republic of South Africa", "RSA"] },
    Participant { code: "ZWE", name: "Zimbabwe", other_names: &["Zimbábue"] },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_name_is_read_in_each_language_and_spelling() {
        for (text, code) in [
            ("CIV", "CIV"),
            ("COTE D'IVOIRE", "CIV"),
            ("Côte d’Ivoire", "CIV"),
            ("Co\u{302}te d'Ivoire", "CIV"),
            ("Cote D Ivoire", "CIV"),
            ("Costa do Marfim", "CIV"),
            ("Congo, Democratic Republic of", "COD"),
            ("République démocratique du Congo", "COD"),
            ("Congo, Republic of", "COG"),
            ("Rússia", "RUS"),
            ("África do Sul", "ZAF"),
            ("Sudáfrica", "ZAF"),
            ("Fédération de Russie", "RUS"),
            ("European Community", "EUU"),
            ("Korea, Republic of", "KOR"),
            ("China, People's Republic of", "CHN"),
        ] {
            assert_eq!(
                Participant::find(text).map(|p| p.code),
                Some(code),
                "{text}"
            );
        }
        for text in ["Congo", "Atlantis", "", "-"] {
            assert_eq!(Participant::find(text), None, "{text}");
        }
    }

    #[test]
    fn no_name_is_two_participants() {
        let mut codes = BTreeMap::new();
        for participant in PARTICIPANTS {
            for name in participant.all_names() {
                let before = codes.insert(key(name), participant.code);
                assert!(before.is_none_or(|code| code == participant.code), "{name}");
            }
            assert_eq!(Participant::of_code(participant.code), Some(participant));
        }
    }

    #[test]
    fn a_misspelt_name_has_a_nearest_one() {
        let name = |text: &str| Participant::nearest(text).map(|(_, name)| name);
        assert_eq!(name("Sierra Lone"), Some("Sierra Leone"));
        assert_eq!(name("Botswanna"), Some("Botswana"));
        assert_eq!(name("Atlantis and more"), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
