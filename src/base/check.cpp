#include "base/check.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "base/flight_recorder.h"

namespace ftvmm {

namespace {

void write_all(std::string_view text) noexcept {
    while (!text.empty()) {
        const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return;  // Nothing sensible is left to do on the way to abort().
        text.remove_prefix(static_cast<std::size_t>(written));
    }
}

}  // namespace

void check_failed(const char* condition, const char* file, int line, const char* meaning) noexcept {
    std::array<char, 16> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), line).ptr;
    write_all("ftvmm: broken invariant: ");
    write_all(meaning);
    write_all(" (");
    write_all(condition);
    write_all(", ");
    write_all(file);
    write_all(":");
    write_all({digits.data(), static_cast<std::size_t>(end - digits.data())});
    write_all(")\nThis half of the VM stops here. Last events of this thread, oldest first:\n");
    FlightRecorder::this_thread().dump(STDERR_FILENO);
    std::abort();
}

}  // namespace ftvmm
