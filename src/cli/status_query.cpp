#include "cli/status_query.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"
#include "cli/control_socket.h"
#include "cli/status_board.h"

namespace ftvmm::cli {

namespace {

class Question {
  public:
    Question(const std::string& path, std::chrono::milliseconds patience)
        : path_(path), until_(clock_.now() + patience) {}

    // The document. An error has the errno of a connection that was not made.
    Result<std::string> ask() {
        FTVMM_ASSIGN(const sockaddr_un address, host::socket_address(path_, path_));
        fd_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        const auto* generic = reinterpret_cast<const sockaddr*>(&address);
        while (::connect(fd_.get(), generic, sizeof address) != 0) {
            // As many as may wait there already do.
            if (errno != EAGAIN && errno != EINTR) {
                return Failure(Error::from_errno(errno, path_));
            }
            constexpr int kAgainMs = 20;
            if (clock_.now() >= until_) return silence();
            (void)::poll(nullptr, 0, kAgainMs);
        }
        return read_all();
    }

  private:
    [[nodiscard]] Result<std::string> read_all() const {
        std::string text;
        std::array<char, 4096> bytes{};
        while (true) {
            const ssize_t got = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
            if (got == 0) break;
            if (got > 0) {
                text.append(bytes.data(), static_cast<std::size_t>(got));
                if (text.size() > ControlSocket::kMostBytes) break;
                continue;
            }
            if (errno == EINTR) continue;
            if (errno != EAGAIN) return Failure(Error::from_errno(errno, path_));
            const auto left =
                std::chrono::ceil<std::chrono::milliseconds>(until_ - clock_.now()).count();
            pollfd waits{fd_.get(), POLLIN, 0};
            if (left <= 0 || ::poll(&waits, 1, static_cast<int>(left)) == 0) return silence();
        }
        if (text.empty()) return fail(path_ + ": its run said nothing");
        return text;
    }
    [[nodiscard]] Failure silence() const { return fail(path_ + ": its run does not answer"); }

    SystemClock clock_;
    const std::string& path_;
    Instant until_;
    Fd fd_;
};

}  // namespace

StatusAnswer ask_status(const std::string& path, std::chrono::milliseconds patience) {
    StatusAnswer answer;
    answer.path = path;
    answer.name = std::filesystem::path(path).stem().string();
    const auto document = Question(path, patience).ask();
    if (document && !nlohmann::json::accept(*document)) {
        answer.problem = path + ": what listens there is no run of ftvmm";
        return answer;
    }
    if (document) {
        answer.document = *document;
        return answer;
    }
    answer.is_gone = document.error().error_number() == ECONNREFUSED;
    answer.problem = document.error().line();
    if (answer.is_gone) {
        answer.problem = path + ": its run is gone and has left this socket behind";
    } else if (document.error().error_number() == ENOENT) {
        answer.problem =
            fmt::format("no VM {} runs on this host: there is no {}", answer.name, path);
    }
    return answer;
}

std::vector<StatusAnswer> ask_all(const std::string& folder) {
    std::vector<StatusAnswer> answers;
    std::error_code error;
    for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end;
         at.increment(error)) {
        std::error_code gone;
        if (at->path().extension() == kControlEnding && at->is_socket(gone)) {
            answers.push_back(ask_status(at->path().string()));
        }
    }
    std::ranges::sort(answers, {}, &StatusAnswer::name);
    return answers;
}

}  // namespace ftvmm::cli
