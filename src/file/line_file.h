// Lines that are appended to a file, a pipe or a device while others are served, so that nothing here ever
// waits.
//
// A line is written whole or not at all. What cannot be written is told to the caller and stops nothing:
// where a disk is full the part that fitted is taken back, and where that is not possible the next line ends
// it.
#pragma once

#include <string>

#include "base/unique_fd.h"

namespace cachalot {

// One thread at a time.
class LineFile {
  public:
    // Creates the file readable by its owner only; begins on a line of its own if somebody else's last line
    // has no end. A file that is renamed or removed while it is open, as programs that rotate logs do, is
    // made anew under its name. Throws Error if it cannot be opened.
    explicit LineFile(const std::string& path);

    // What is open already, as standard error. Its description is shared with others, so that it cannot be
    // told not to wait; instead it is asked before each piece whether it would.
    explicit LineFile(UniqueFd opened);

    // Without waiting: 0, or what is wrong as in errno (EAGAIN: a pipe that nobody empties). `line` has no
    // end yet.
    int append(std::string line);

  private:
    void open();
    void follow();
    bool would_wait() const;
    void take_back(std::size_t bytes);

    std::string path_;  // empty: it was open already
    UniqueFd file_;
    bool regular_ = false;
    bool torn_ = false;  // the file ends within a line
};

}  // namespace cachalot
