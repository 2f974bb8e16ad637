//! Carries weights between this project's model files and other programs' files.
//!
//! Importing: a file's named arrays ([`inception_formats`]) meet the names that its library gives
//! a network's layers, or its graph is read as a network of its own. Exporting is the way back.
//! Reads no files itself and does no arithmetic but changes of layout.
