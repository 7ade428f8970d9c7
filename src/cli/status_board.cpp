#include "cli/status_board.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "cli/ownership.h"
#include "node/log.h"

namespace ftvmm::cli {

namespace {

// Everybody may see which VMs run here, as in a list of processes.
constexpr mode_t kFolderMode = 0755;

Result<std::unique_ptr<ControlSocket>> listen_as_usual(const std::string& folder,
                                                       const std::string& name,
                                                       std::function<std::string()> document) {
    if (::mkdir(folder.c_str(), kFolderMode) != 0 && errno != EEXIST) {
        return Failure(Error::from_errno(errno, folder));
    }
    return ControlSocket::listen(fmt::format("{}/{}{}", folder, name, kControlEnding),
                                 std::move(document));
}

}  // namespace

StatusBoard::StatusBoard(const config::VmConfig& config) {
    vm_.name = config.name;
    vm_.uuid = config.uuid.text();
    vm_.host = host_name();
}

Result<std::unique_ptr<StatusBoard>> StatusBoard::open(const std::string& path,
                                                       const config::VmConfig& config,
                                                       const std::string& folder) {
    std::unique_ptr<StatusBoard> board(new StatusBoard(config));
    const auto document = [&shown = *board] { return render_json(shown.look()); };
    if (!path.empty()) {
        FTVMM_ASSIGN(board->socket_, ControlSocket::listen(path, document));
        return board;
    }
    auto socket = listen_as_usual(folder, config.name, document);
    if (socket) {
        board->socket_ = std::move(*socket);
    } else {
        node::log_to_stderr(
            socket.error().with_context("ftvmm status does not see this run").line());
    }
    return board;
}

void StatusBoard::show(std::function<void(VmStatus&)> fill) {
    const std::lock_guard guard(mutex_);
    fill_ = std::move(fill);
}

VmStatus StatusBoard::look() const {
    VmStatus status = vm_;
    const std::lock_guard guard(mutex_);
    if (fill_) fill_(status);
    return status;
}

}  // namespace ftvmm::cli
