// The names of files that are not finished, so that a program that is told to end can remove them.
//
// The library installs no signal handlers; a program that wants this calls remove_temporary_files() in its
// own.
#pragma once

#include <string>

namespace cachalot {

// `name` must stay where it is until it is taken off the list.
void note_temporary_file(const std::string& name);
void forget_temporary_file(const std::string& name) noexcept;

// Removes the files. May be called in a signal handler, once: the process must end then, for who wants to
// change the list afterwards waits forever.
void remove_temporary_files() noexcept;

}  // namespace cachalot
