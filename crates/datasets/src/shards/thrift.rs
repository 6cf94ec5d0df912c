//! A walk over Thrift's compact protocol, in which parquet writes its metadata, so that sizes and
//! nesting can be checked before anything is allocated.

/// Limit on nested structures; parquet's metadata has fewer.
const MAX_DEPTH: usize = 12;

/// Walks over the structure at the start of `bytes`. Calls `visit` for each integer and for each
/// list's length, with the numbers of the fields that lead to it; elements of a list add no number.
/// Returns the length of the structure in bytes.
pub fn walk(bytes: &[u8], visit: Visit<'_>) -> Result<usize, String> {
    let mut walker = Walker { bytes, at: 0, path: Vec::new(), visit };
    walker.structure(0)?;
    Ok(walker.at)
}

/// Is called with a field's path and value; an error ends the walk.
pub type Visit<'a> = &'a mut dyn FnMut(&[i16], ThriftValue) -> Result<(), String>;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThriftValue {
    /// An integer.
    Integer(i64),
    /// A list of this many elements.
    List(usize),
}

struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
    path: Vec<i16>,
    visit: Visit<'a>,
}

impl Walker<'_> {
    fn structure(&mut self, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("its metadata is nested too deeply".into());
        }
        let mut field = 0i16;
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Ok(());
            }
            field = match header >> 4 {
                0 => i16::try_from(self.integer()?).map_err(|_| "a field's number")?,
                step => field.checked_add(step.into()).ok_or("a field's number")?,
            };
            self.path.push(field);
            // A boolean field is encoded by its kind alone.
            if !matches!(header & 15, 1 | 2) {
                self.value(header & 15, depth)?;
            }
            self.path.pop();
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<(), String> {
        match kind {
            1..=3 => self.skip(1),
            4..=6 => {
                let value = self.integer()?;
                (self.visit)(&self.path, ThriftValue::Integer(value))
            }
            7 => self.skip(8),
            8 => {
                let length = self.unsigned()?;
                self.skip(length)
            }
            9 | 10 => {
                let header = self.byte()?;
                let count = match header >> 4 {
                    15 => self.unsigned()?,
                    count => count.into(),
                };
                // Each element takes at least one byte.
                if count > (self.bytes.len() - self.at) as u64 {
                    return Err("a list in its metadata is longer than the metadata".into());
                }
                (self.visit)(&self.path, ThriftValue::List(count as usize))?;
                (0..count).try_for_each(|_| self.value(header & 15, depth + 1))
            }
            12 => self.structure(depth + 1),
            // Parquet has no maps.
            _ => Err(format!("its metadata has a field of the kind {kind}")),
        }
    }

    fn byte(&mut self) -> Result<u8, String> {
        let byte = *self.bytes.get(self.at).ok_or("its metadata is cut off")?;
        self.at += 1;
        Ok(byte)
    }

    fn skip(&mut self, count: u64) -> Result<(), String> {
        if count > (self.bytes.len() - self.at) as u64 {
            return Err("its metadata is cut off".into());
        }
        self.at += count as usize;
        Ok(())
    }

    fn unsigned(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(value);
            }
        }
        Err("a number in its metadata has no end".into())
    }

    fn integer(&mut self) -> Result<i64, String> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(bytes: &[u8]) -> Result<Vec<(Vec<i16>, ThriftValue)>, String> {
        let mut all = Vec::new();
        let mut visit = |path: &[i16], value| {
            all.push((path.to_vec(), value));
            Ok(())
        };
        let taken = walk(bytes, &mut visit)?;
        assert_eq!(taken, bytes.len());
        Ok(all)
    }

    #[test]
    fn integers_are_heard_with_their_path() {
        // 1: i32 -2; 3: list of two structures {5: i32 1}; 4: binary "ab"; 5: true.
        let bytes = [0x15, 3, 0x29, 0x2c, 0x55, 2, 0, 0x55, 2, 0, 0x18, 2, b'a', b'b', 0x11, 0];
        let one = (vec![3, 5], ThriftValue::Integer(1));
        let expected = [
            (vec![1], ThriftValue::Integer(-2)),
            (vec![3], ThriftValue::List(2)),
            one.clone(),
            one,
        ];
        assert_eq!(seen(&bytes).unwrap(), expected);
        for length in 0..bytes.len() {
            assert!(seen(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        let endless = [0x15, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255];
        let list = [0x19, 0xfc, 255, 255, 255, 255, 15, 0];
        let text = [0x18, 255, 255, 255, 255, 255, 255, 255, 255, 127, 0];
        let deep = [0x1c; 100];
        for bytes in [&endless[..], &list, &text, &deep, &[0x1b, 0, 0]] {
            assert!(seen(bytes).is_err(), "{bytes:?}");
        }
    }
}
