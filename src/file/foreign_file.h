// What a file is that was expected to be a model and is none, for messages: people have the pointer of Git
// LFS, the web page that a link led to, or an archive.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace cachalot {

// "is ...; do ..." if the beginning shows a format that is wrong whatever was expected (a pointer,
// a web page, an archive); also of an empty file. Else empty.
std::string known_format(std::span<const std::byte> bytes);

// "is ...; do ..." if the beginning of the file shows what it is; else empty. Reads the first kilobyte.
std::string foreign_file(std::span<const std::byte> bytes);

// A hint in brackets, with a space in front, if the file's name says that it is unfinished; else empty.
std::string unfinished_name(const std::string& path);

}  // namespace cachalot
