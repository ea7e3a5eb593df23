// Threads beside those of the model: started without ending the program where there are too many, and put behind it.
#pragma once

#include <functional>
#include <string_view>
#include <thread>
#include <vector>

namespace cachalot {

// A thread that does `work`. Throws Error "cannot start a thread for {purpose}: ..." if the system has none left.
std::thread start_thread(std::string_view purpose, std::function<void()> work);

// Adds up to `count` such threads to `threads`; returns false if there are fewer. Throws Error if there is none at all.
bool start_threads(std::vector<std::thread>& threads, int count, std::string_view purpose,
                   const std::function<void()>& work);

// The calling thread gives way to others of this process where processors are short. Does nothing where the system
// knows no priorities of threads.
void lower_thread_priority();

}  // namespace cachalot
