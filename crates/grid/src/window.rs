/// A place in a plane: x to the right (or longitude), y up (or latitude).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Easting in meters, or longitude in degrees.
    pub x: f64,
    /// Northing in meters, or latitude in degrees.
    pub y: f64,
}

/// How many pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// Number of pixels.
    #[must_use]
    pub fn n_pixels(self) -> usize {
        self.height * self.width
    }
}

/// A rectangle of pixels inside a geobox, half-open: rows `row..row + height`, columns `col..col + width`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// First row.
    pub row: usize,
    /// First column.
    pub col: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Window {
    /// The shape of the rectangle.
    #[must_use]
    pub fn shape(self) -> Shape {
        Shape {
            height: self.height,
            width: self.width,
        }
    }

    /// The pixels that lie in both, if there are any.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        let row = self.row.max(other.row);
        let col = self.col.max(other.col);
        let end_row = (self.row + self.height).min(other.row + other.height);
        let end_col = (self.col + self.width).min(other.col + other.width);
        (row < end_row && col < end_col).then(|| Self {
            row,
            col,
            height: end_row - row,
            width: end_col - col,
        })
    }
}
