// Asks the runs of this host what they are doing.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace ftvmm::cli {

// What came of one question.
struct StatusAnswer {
    std::string name;      // Of the VM, as its socket is called.
    std::string path;      // Of the socket.
    std::string document;  // Empty: there is a problem.
    // Why there is no document, a line; is_gone: because nobody listens any more.
    std::string problem;
    bool is_gone = false;
};

// Who runs a VM answers in a few ms.
inline constexpr std::chrono::milliseconds kStatusPatience{1000};

// At the socket `path`; waits for at most `patience`.
[[nodiscard]] StatusAnswer ask_status(const std::string& path,
                                      std::chrono::milliseconds patience = kStatusPatience);
// At every socket in `folder`, by name; none where there is no such folder.
[[nodiscard]] std::vector<StatusAnswer> ask_all(const std::string& folder);

}  // namespace ftvmm::cli
