# SPDX-License-Identifier: BSD-3-Clause
#
# Completion of goinspect's command line for bash.  Verbs, options and columns are asked of goinspect
# itself, processes of "goinspect ps", so nothing here has to follow it.

_goinspect_words() { # what completes the current word
    local verb=$1 previous=$2 current=$3
    case $previous in
    -o | --output)
        case $verb in
        run | snapshot) compgen -f -- "$current" ;;
        *) compgen -W 'table json ndjson csv' -- "$current" ;;
        esac
        return ;;
    --columns | --sort)
        compgen -W "$(goinspect help "$verb" 2>/dev/null |
            sed -n '/^Columns/,/^$/s/^[+ ] \([a-z_]*\) .*/\1/p' | sort -u)" -- "$current"
        return ;;
    --objects)
        case $verb in
        import | snapshot) compgen -W 'recorded sample leaked all none' -- "$current"; return ;;
        esac ;;
    --wrappers | --suppressions | --since | --baseline | --write-baseline | --junit)
        compgen -f -- "$current"
        return ;;
    --color)
        compgen -W 'auto always never' -- "$current"
        return ;;
    esac
    case $current in
    -*) compgen -W "$(goinspect help "$verb" 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u)" -- "$current" ;;
    *)
        case $verb in
        help) compgen -W "$(goinspect help | sed -n 's/^  \([a-z]*\)  .*/\1/p')" -- "$current" ;;
        profile) compgen -W "start stop rate $(goinspect ps -o csv --no-header --columns pid,name 2>/dev/null |
            tr ',' '\n')" -- "$current" ;;
        run) compgen -c -- "$current" ;;
        *)
            compgen -W "$(goinspect ps -o csv --no-header --columns pid,name 2>/dev/null |
                tr ',' '\n')" -- "$current"
            compgen -f -- "$current" ;;
        esac ;;
    esac
}

_goinspect() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(goinspect help |
            sed -n 's/^  \([a-z]*\)  .*/\1/p')" -- "$current")
    else
        mapfile -t COMPREPLY < <(_goinspect_words "${COMP_WORDS[1]}" "$previous" "$current")
    fi
}
complete -o filenames -F _goinspect goinspect
