#include "file/text_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "base/error.h"

namespace cachalot {

std::string read_text_file(const std::filesystem::path& path, std::uintmax_t limit) {
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) fail("{}: is a directory, not a file", path.string());
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
    if (!file) fail("{}: cannot be opened: {}", path.string(), std::strerror(errno));
    std::string text;
    char buffer[1 << 16];
    while (std::size_t n = std::fread(buffer, 1, sizeof buffer, file.get())) {
        text.append(buffer, n);
        if (text.size() > limit) fail("{}: larger than {} bytes", path.string(), limit);
    }
    if (std::ferror(file.get())) fail("{}: cannot be read", path.string());
    return text;
}

}  // namespace cachalot
