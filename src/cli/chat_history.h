// What was typed in earlier chats: a file of the user's alone, one entry a line, line breaks as \n. Several
// sessions may add to it at the same time; each reads it when it starts.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace cachalot::cli {

class ChatHistory {
  public:
    static constexpr std::size_t kMostEntries = 1000, kLongestEntry = 16 << 10;  // bytes

    // `file`: empty: nothing is read or kept. Longer files are cut to the newest entries. Throws Error if the
    // file cannot be read or cut.
    explicit ChatHistory(std::filesystem::path file);

    const std::vector<std::string>& earlier() const { return earlier_; }  // the oldest first

    const std::filesystem::path& file() const { return file_; }

    // Appends to the file, without what is too long. Throws Error.
    void add(const std::string& entry) const;

  private:
    std::filesystem::path file_;
    std::vector<std::string> earlier_;
};

}  // namespace cachalot::cli
