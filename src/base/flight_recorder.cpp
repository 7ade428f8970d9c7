#include "base/flight_recorder.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace ftvmm {

namespace {

// One line of the dump, built without allocation and cut where it does not fit.
class Line {
  public:
    void text(const char* text) {
        const std::size_t length = std::min(std::strlen(text), room());
        std::memcpy(end_, text, length);
        end_ += length;
    }
    void number(std::uint64_t value, int base) {
        end_ = std::to_chars(end_, end_ + room(), value, base).ptr;
    }
    void write_to(int fd) const {
        // A short write loses the tail of one line of a crash report: nothing better can be done.
        [[maybe_unused]] const ssize_t written =
            ::write(fd, buffer_.data(), static_cast<std::size_t>(end_ - buffer_.data()));
    }

  private:
    [[nodiscard]] std::size_t room() const {
        return static_cast<std::size_t>(buffer_.data() + buffer_.size() - end_);
    }
    std::array<char, 160> buffer_{};
    char* end_ = buffer_.data();
};

}  // namespace

FlightRecorder& FlightRecorder::this_thread() noexcept {
    thread_local FlightRecorder recorder;
    return recorder;
}

void FlightRecorder::dump(int fd) const noexcept {
    const std::uint64_t first = noted_ > kEvents ? noted_ - kEvents : 0;
    for (std::uint64_t n = first; n < noted_; ++n) {
        const Event& event = events_[n % kEvents];
        Line line;
        line.text("  #");
        line.number(n, 10);
        line.text(" ");
        line.text(event.name);
        line.text(" ");
        line.number(event.a, 16);
        line.text(" ");
        line.number(event.b, 16);
        line.text("\n");
        line.write_to(fd);
    }
}

}  // namespace ftvmm
