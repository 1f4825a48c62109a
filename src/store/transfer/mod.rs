//! How the bytes of objects move: a read over one or more connections, an upload part by part, and what both hold in
//! memory meanwhile.
//!
//! [`object_reader::ObjectReader`] reads. For uploads, `filling` cuts what arrives into parts (`part_buffer`), whose sizes
//! `part_size` and `schedule` determine; `parts` sends several at a time; `multipart` creates and completes the upload.

mod ahead_part;
mod backend_speed;
pub(in crate::store) mod byte_range;
pub(in crate::store) mod chunk;
pub(in crate::store) mod fill_rate;
pub(in crate::store) mod filling;
pub(in crate::store) mod multipart;
pub(in crate::store) mod object_reader;
mod part_buffer;
pub(in crate::store) mod part_size;
mod part_sums;
pub(in crate::store) mod parts;
pub(in crate::store) mod pinned;
pub(in crate::store) mod read_ahead;
mod resume;
pub(in crate::store) mod schedule;
pub(in crate::store) mod speed_record;
