//! What goes over the wire to S3, byte for byte, and what is made of odd answers: on a scripted server.

mod scripted;

mod deleting;
mod life;
mod reading;
mod requests;
mod retrying;
mod writing;
