"""Train conditional flow matching on log-mels: python generation/train_flow.py --data-dir DIR --out-dir RUN"""

from generation.registry import KINDS
from shared.errors import run_entry

main = KINDS["flow"].train

if __name__ == "__main__":
    run_entry(main)
