//! Resizing and cropping as Pillow does.

use std::cell::RefCell;

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use super::Interpolation;
use crate::ParameterError;
use crate::decode::MAX_SIDE;

thread_local! {
    /// A resizer, and the buffer of the image between its two passes.
    static RESIZER: RefCell<(Resizer, Vec<u8>)> = RefCell::default();
}

/// A rectangle of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Rows above it.
    pub top: u32,
    /// Columns to its left.
    pub left: u32,
    /// Number of rows.
    pub height: u32,
    /// Number of columns.
    pub width: u32,
}

impl Crop {
    /// Returns the whole of an image.
    pub(super) fn whole(width: u32, height: u32) -> Self {
        Self { top: 0, left: 0, height, width }
    }

    /// Returns the index of the row below the last.
    pub fn bottom(&self) -> u32 {
        self.top + self.height
    }
}

/// Resizes to `width`×`height` pixels by the bilinear filter, antialiased when shrinking.
///
/// # Errors
/// [`ParameterError`] where the image or the result has no pixels, or the result more than 16,384
/// a side.
pub fn resize(image: &RgbImage, width: u32, height: u32) -> Result<RgbImage, ParameterError> {
    let whole = Crop::whole(image.width(), image.height());
    let area = Area::whole(&whole);
    resample(&view(image)?, whole, area, [width, height], Interpolation::Bilinear)
}

/// Crops the central `size`×`size` pixels.
///
/// # Errors
/// [`ParameterError`] where the image is smaller than that.
pub fn center_crop(image: &RgbImage, size: u32) -> Result<RgbImage, ParameterError> {
    let (width, height) = image.dimensions();
    if size == 0 || size > width || size > height {
        return Err(ParameterError::new(
            "crop size",
            size,
            "at least 1 and at most each side of the image",
        ));
    }
    let (left, top) = (central_start(width, size), central_start(height, size));
    Ok(image::imageops::crop_imm(image, left, top, size, size).to_image())
}

/// Crops `width`×`height` pixels at (`left`, `top`) and resizes them to `size`×`size`. Pixels
/// around the crop do not contribute.
///
/// # Errors
/// [`ParameterError`] where the crop is empty or reaches beyond the image.
pub fn resized_crop(
    image: &RgbImage,
    top: u32,
    left: u32,
    height: u32,
    width: u32,
    size: u32,
) -> Result<RgbImage, ParameterError> {
    let source = view(image)?;
    let fits = |start: u32, length: u32, side: u32| {
        length > 0 && start.checked_add(length).is_some_and(|end| end <= side)
    };
    let outside = || {
        let crop = (top, left, height, width);
        ParameterError::new("crop (top, left, height, width)", crop, "pixels of the image")
    };
    if !(fits(left, width, image.width()) && fits(top, height, image.height())) {
        return Err(outside());
    }
    let crop = Crop { top, left, height, width };
    resample(&source, crop, Area::whole(&crop), [size, size], Interpolation::Bilinear)
}

/// Resizes an image to `width`×`height` pixels and crops the central `size`×`size`, without computing the
/// pixels that the crop would cut off.
pub(super) fn resized_center(
    image: &RgbImage,
    [width, height]: [u32; 2],
    size: u32,
    interpolation: Interpolation,
) -> Result<RgbImage, ParameterError> {
    let [left, top] = [width, height].map(|side| central_start(side, size));
    let scaled =
        |at: u32, length: u32, side: u32| f64::from(at) * f64::from(length) / f64::from(side);
    let area = Area {
        left: scaled(left, image.width(), width),
        top: scaled(top, image.height(), height),
        width: scaled(size, image.width(), width),
        height: scaled(size, image.height(), height),
    };
    let whole = Crop::whole(image.width(), image.height());
    resample(&view(image)?, whole, area, [size, size], interpolation)
}

/// Offset of the central `inner` of `outer` pixels; halves are rounded to even as in Python.
fn central_start(outer: u32, inner: u32) -> u32 {
    (f64::from(outer - inner) / 2.0).round_ties_even() as u32
}

fn view(image: &RgbImage) -> Result<TypedImageRef<'_, U8x3>, ParameterError> {
    let (width, height) = image.dimensions();
    TypedImageRef::from_buffer(width, height, image.as_raw())
        .ok()
        .filter(|_| width > 0 && height > 0)
        .ok_or_else(|| ParameterError::new("image", (width, height), "at least 1×1 pixels"))
}

/// The part of a crop that a resize shows, in pixels. Pixels around it contribute where the filter
/// reaches them.
struct Area {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Area {
    fn whole(crop: &Crop) -> Self {
        Self { left: 0.0, top: 0.0, width: crop.width.into(), height: crop.height.into() }
    }
}

/// Resizes the `area` of a crop. Both passes read the same type of view, whole images too: the
/// library's kernels are compiled once for each type.
fn resample(
    image: &TypedImageRef<'_, U8x3>,
    crop: Crop,
    area: Area,
    [width, height]: [u32; 2],
    interpolation: Interpolation,
) -> Result<RgbImage, ParameterError> {
    let impossible = || {
        let expected = "1 to 16384 pixels a side";
        ParameterError::new("resized image", (width, height), expected)
    };
    if [width, height].iter().any(|side| !(1..=MAX_SIDE).contains(side)) {
        return Err(impossible());
    }
    let filter = match interpolation {
        Interpolation::Bilinear => FilterType::Bilinear,
        // Pillow's, with a = -0.5.
        Interpolation::Bicubic => FilterType::CatmullRom,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
    let across = options.crop(area.left, 0.0, area.width, crop.height.into());
    let down = options.crop(0.0, area.top, width.into(), area.height);
    let mut resized = RgbImage::new(width, height);
    let mut resize = |resizer: &mut Resizer, between: &mut Vec<u8>| -> Option<()> {
        // Horizontally first as in Pillow, since each pass rounds. In one call the library would
        // begin vertically.
        between.resize(width as usize * crop.height as usize * 3, 0);
        let Crop { top, left, height: rows, width: columns } = crop;
        let source = TypedCroppedImage::from_ref(image, left, top, columns, rows).ok()?;
        let mut narrow = TypedImage::from_buffer(width, rows, between).ok()?;
        resizer.resize_typed(&source, &mut narrow, &across).ok()?;
        let narrow = TypedImageRef::<U8x3>::from_buffer(width, rows, between).ok()?;
        let source = TypedCroppedImage::from_ref(&narrow, 0, 0, width, rows).ok()?;
        let mut target = TypedImage::from_buffer(width, height, &mut resized).ok()?;
        resizer.resize_typed(&source, &mut target, &down).ok()
    };
    RESIZER
        .with_borrow_mut(|(resizer, between)| resize(resizer, between))
        .ok_or_else(impossible)?;
    Ok(resized)
}
