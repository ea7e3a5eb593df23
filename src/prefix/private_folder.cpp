#include "prefix/private_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/error.h"
#include "base/unique_fd.h"

namespace cachalot {

void make_private_folder(const std::filesystem::path& folder) {
    auto reason = [] { return std::generic_category().message(errno); };
    std::error_code error;
    if (folder.has_parent_path()) std::filesystem::create_directories(folder.parent_path(), error);
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
        fail("{}: cannot create: {}", folder.string(), reason());
    struct stat info {};
    if (::stat(folder.c_str(), &info) != 0) fail("{}: {}", folder.string(), reason());
    if (!S_ISDIR(info.st_mode)) fail("{}: is not a folder", folder.string());
    if (info.st_uid != ::geteuid()) fail("{}: belongs to another user", folder.string());
    if (info.st_mode & 077)
        fail("{}: is open to other users, and conversations would be in it; chmod 700 closes it",
             folder.string());
}

void make_private_file(const std::filesystem::path& path) {
    const UniqueFd created(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
}

}  // namespace cachalot
