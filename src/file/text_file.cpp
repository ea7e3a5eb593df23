#include "file/text_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>

#include "base/error.h"
#include "file/regular_file.h"

namespace cachalot {
namespace {

void check_size(const std::filesystem::path& path, std::uintmax_t size, std::uintmax_t limit) {
    if (size > limit) fail("{}: larger than {} bytes", path.string(), limit);
}

}  // namespace

std::string read_text_file(const std::filesystem::path& path, std::uintmax_t limit) {
    const RegularFile file(path);
    check_size(path, file.size(), limit);
    std::string text(static_cast<std::size_t>(file.size()), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    return text;
}

std::string read_text_input(const std::filesystem::path& path, std::uintmax_t limit) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(path, ignored))
        check_size(path, std::filesystem::file_size(path), limit);
    if (std::filesystem::is_directory(path, ignored)) fail("{}: is a directory, not a file", path.string());
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
    if (!file) fail("{}: cannot be opened: {}", path.string(), std::strerror(errno));
    std::string text;
    char buffer[1 << 16];
    while (std::size_t n = std::fread(buffer, 1, sizeof buffer, file.get())) {
        text.append(buffer, n);
        check_size(path, text.size(), limit);
    }
    if (std::ferror(file.get())) fail("{}: cannot be read", path.string());
    return text;
}

}  // namespace cachalot
